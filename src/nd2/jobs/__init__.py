"""Types of what ``ND2File.jobs`` returns; see `nd2._core.job_types`."""
