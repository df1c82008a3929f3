"""What all pages use: the guard, the open Skein, state, texts, dialogs, and what we need of Streamlit's inside."""
