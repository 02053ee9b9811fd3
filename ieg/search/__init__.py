"""Search over settings that a score judges, such as keep schedules."""
