"""The leaderboard as one page of HTML that needs nothing else: table, figures, domain cards and run manifests."""
