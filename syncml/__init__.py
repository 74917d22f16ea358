"""OMA DM 1.2 (SyncML) as a sans-IO protocol: bytes to typed messages and back, sessions as values.

Standard library only. Nothing in this package reads a clock, draws a random number, opens a file or a
socket: the current time and fresh nonces are arguments. The service (`mdm`) decides what to say, the
package decides how it is said.

Sources: OMA-TS-DM_Protocol, OMA-TS-DM_RepPro and OMA-TS-DM_Security V1_2_1, [MS-MDM] v20240423.
"""
