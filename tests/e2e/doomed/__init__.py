"""Programs of the node that end themselves by SIGKILL where they are told to, and what a test needs to tell them and to
see what became of it. The scripts are copied to /lab of the node and know nothing of the tests."""
