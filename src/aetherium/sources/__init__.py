"""Where the files of a job come from, and how they become one tar stream: for who submits and who runs it."""
