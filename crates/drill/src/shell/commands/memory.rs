use super::{Call, Reply, human};

pub(super) fn free(call: &mut Call<'_>) -> Reply {
    let memory = call.state.guest.memory(call.now);
    let show = |bytes: u64| {
        if call.has('h') {
            let short = human(bytes);
            if bytes == 0 {
                "0B".to_owned()
            } else {
                format!("{short}i")
            }
        } else {
            let shift = if call.has('m') {
                20
            } else if call.has('g') {
                30
            } else {
                10
            };
            (bytes >> shift).to_string()
        }
    };
    let row = |cells: &[u64]| {
        cells
            .iter()
            .map(|bytes| format!("{:>12}", show(*bytes)))
            .collect::<String>()
    };
    let main = row(&[
        memory.total,
        memory.used,
        memory.free,
        1 << 20,
        memory.cache,
        memory.available,
    ]);
    let swap = row(&[
        memory.swap_total,
        memory.swap_used,
        memory.swap_total - memory.swap_used,
    ]);
    Reply::out(format!(
        "               total        used        free      shared  buff/cache   available\nMem:    {main}\nSwap:   {swap}\n"
    ))
}
