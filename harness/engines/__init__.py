"""Where blocks are computed: on this machine, or on several."""
