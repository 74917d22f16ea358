"""The certificate authority: certificates by which devices prove who they are, issued, checked and taken back."""
