"""How a Windows PC joins by itself: discovery, policy and certificate request of MS-MDE2, and who may ask."""
