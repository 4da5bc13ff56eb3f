"""What goes into a job's VM: git repositories, directories, bundles, archives, as a tar stream."""
