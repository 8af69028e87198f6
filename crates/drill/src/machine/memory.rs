/// Bytes of memory in the guest, as `free` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) used: u64,
    pub(crate) free: u64,
    pub(crate) cache: u64,
    pub(crate) available: u64,
    pub(crate) swap_total: u64,
    pub(crate) swap_used: u64,
}

const TOTAL: u64 = 4 << 30;
const SWAP: u64 = 1 << 30;
/// Used by the kernel itself.
const KERNEL: u64 = 190 << 20;
/// Never given to a process.
const RESERVE: u64 = 72 << 20;
/// Maximum page cache.
const CACHE_MAX: u64 = 1100 << 20;

impl Memory {
    /// The memory of a guest whose processes use `resident` bytes.
    pub(crate) fn with_resident(resident: u64) -> Memory {
        let demand = resident + KERNEL;
        let used = demand.min(TOTAL - RESERVE);
        let unused = TOTAL - used;
        let cache = CACHE_MAX.min(unused / 2);
        let free = unused - cache;
        Memory {
            total: TOTAL,
            used,
            free,
            cache,
            available: free + cache * 9 / 10,
            swap_total: SWAP,
            swap_used: (demand - used).min(SWAP),
        }
    }

    /// Whether processes that use `resident` bytes exceed memory and swap.
    pub(crate) fn is_exhausted(resident: u64) -> bool {
        resident + KERNEL > TOTAL - RESERVE + SWAP
    }

    /// Percent of the time in which a task waits for memory (`some avg10`).
    pub(crate) fn pressure(&self) -> u32 {
        match self.available * 100 / self.total {
            0..=3 if self.swap_used > self.swap_total / 2 => 63,
            0..=3 => 38,
            4..=8 => 12,
            _ => 0,
        }
    }
}
