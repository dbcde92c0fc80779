"""A mount's life in a job: daemon, run, mounts of this user, namespaces, Slurm."""
