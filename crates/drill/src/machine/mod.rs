//! One coherent state of a simulated guest and its QEMU process.
