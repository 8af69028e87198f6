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
/// What the kernel holds for itself.
const KERNEL: u64 = 190 << 20;
/// What the kernel never gives away.
const RESERVE: u64 = 72 << 20;
/// Page cache when there is room for it.
const CACHE: u64 = 1100 << 20;

impl Memory {
    /// The account for processes that hold `resident` bytes together.
    pub(crate) fn account(resident: u64) -> Memory {
        let demand = resident + KERNEL;
        let used = demand.min(TOTAL - RESERVE);
        let swap_used = (demand - used).min(SWAP);
        let rest = TOTAL - used;
        let cache = CACHE.min(rest / 2);
        let free = rest - cache;
        Memory {
            total: TOTAL,
            used,
            free,
            cache,
            available: free + cache * 9 / 10,
            swap_total: SWAP,
            swap_used,
        }
    }

    /// Whether processes that hold `resident` bytes are more than memory and swap together.
    pub(crate) fn exhausted(resident: u64) -> bool {
        resident + KERNEL > TOTAL - RESERVE + SWAP
    }

    /// How hard the kernel works to find a free page, in percent of time (`some avg10`).
    pub(crate) fn pressure(&self) -> u32 {
        let left = self.available * 100 / self.total;
        match left {
            0..=3 if self.swap_used > self.swap_total / 2 => 63,
            0..=3 => 38,
            4..=8 => 12,
            _ => 0,
        }
    }
}
