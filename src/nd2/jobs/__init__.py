"""Types of the values of ``ND2File.jobs``; see `nd2._core.job_types`."""
