"""The browse page's core: which sessions are looked for (filters, query), and their lists, counted beforehand."""
