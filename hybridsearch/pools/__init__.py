"""Where jobs run: this process, worker processes of this machine, or a cluster that is there."""
