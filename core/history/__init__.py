"""What people said and got: sessions, conversations (trees of messages), and the threads that answered."""
