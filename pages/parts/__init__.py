"""What the pages share: the guard, the open Skein, and drawing."""
