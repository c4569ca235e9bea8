"""What the HTTP client below makes of the backend over httpcore: HTTP/2, proxies, pools, threads.

What is the same in all drivers is in the contract suite, which runs over this backend too.
"""
