"""The Browse page: tables of sessions, filters, the review, templates, activity and exports."""
