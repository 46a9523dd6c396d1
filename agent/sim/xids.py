"""What the driver prints behind an XID, in the wording of drivers 535 to 595. Data only."""

RECOVERY_ACTIONS = {
    0: "None",
    1: "GPU Reset Required",
    2: "Node Reboot Required",
    3: "Drain P2P",
    4: "Drain and Reset",
    5: "Recover IMEX Domain",
    6: "Bus Reset Required",
    7: "System Reboot Required",
}
APP_TEXTS = {
    13: "Graphics SM Warp Exception on (GPC 3, TPC 1, SM 0): Out Of Range Address",
    31: "Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC1 GPCCLIENT_T1_3 faulted @ 0x7f2f_cca58000. "
    "Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    43: "Ch 00000008",
    45: "Ch 00000008",
}
TEXTS = {
    **APP_TEXTS,
    32: "Channel ID 00000008 intr0 00040000",
    48: "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at physAddr 0x7fdf0de80 "
    "partition 5, subpartition 1",
    62: "2b3f(3f2c) 00000000 00000000",
    63: "Row Remapper: New row marked for remapping, reset gpu to activate.",
    64: "Row Remapper: Error writing row remapping information, bank has no spare rows.",
    74: "NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)",
    92: "High single-bit ECC error rate",
    94: "Contained: CE User Channel (0x9). RST: No, D-RST: No",
    95: "Uncontained: FBHUB. RST: Yes, D-RST: No",
    109: "Ch 00000008, errorString CTX SWITCH TIMEOUT, Info 0x24",
    119: "Timeout after 6s of waiting for RPC response from GPU GSP! Expected function 76 (GSP_RM_CONTROL) "
    "(0x20802068 0x4).",
    120: "GSP task exception: Unknown (cause:0x7) @ pc:0x1a2b3c",
    140: "An uncorrectable ECC error detected (possible firmware handling failure) DRAM:1, LTC:0",
    143: "GPU initialization failure",
}
OF_A_PROCESS = frozenset(APP_TEXTS) | {32, 62, 63, 94, 95, 109}
