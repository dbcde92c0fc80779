"""What a release is made of: wheels that need no compiler (``make wheelhouse``), and their trial
in fresh environments (``make release-check``).
"""
