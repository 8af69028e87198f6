use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, error::SendError, unbounded_channel};
use tokio::sync::Notify;

use super::WindowSizeRef;
use crate::ChannelMsg;

/// Messages that may wait in one channel's queue. The window bounds their bytes; this bounds a
/// peer that sends tiny ones, or requests, which use no window. It ends that connection.
const MAX_QUEUED: usize = 16 * 1024;

/// Bytes the application took out of a channel since the last WINDOW_ADJUST.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    consumed: AtomicU32,
    queued: AtomicUsize,
    detached: AtomicBool,
    wake: OnceLock<(Arc<Notify>, u32)>,
}

impl Credit {
    fn add(&self, n: u32) {
        let old = self.consumed.fetch_add(n, Ordering::AcqRel);
        if let Some((w, t)) = self.wake.get() {
            if old < *t && old.saturating_add(n) >= *t {
                w.notify_one();
            }
        }
    }
    pub(crate) fn attach(&self, w: &Arc<Notify>, threshold: u32) {
        self.wake.get_or_init(|| (w.clone(), threshold));
    }
    pub(crate) fn overflowed(&self) -> bool {
        self.queued.load(Ordering::Acquire) > MAX_QUEUED && !self.detached.load(Ordering::Acquire)
    }
    /// Bytes to give back now; `outstanding` = what the peer has used of the window.
    pub(crate) fn take(&self, outstanding: u32, threshold: u32) -> u32 {
        if self.detached.load(Ordering::Acquire) {
            return if outstanding >= threshold { outstanding } else { 0 };
        }
        if self.consumed.load(Ordering::Acquire) >= threshold {
            self.consumed.swap(0, Ordering::AcqRel).min(outstanding)
        } else {
            0
        }
    }
}

/// Session loop -> channel queue. Never blocks the loop: its size is bounded by the SSH
/// window, which is only reopened as the application consumes.
#[derive(Debug)]
pub struct ChanTx {
    tx: UnboundedSender<ChannelMsg>,
    credit: Arc<Credit>,
}
impl ChanTx {
    pub async fn send(&self, m: ChannelMsg) -> Result<(), SendError<ChannelMsg>> {
        self.try_send(m)
    }
    pub fn try_send(&self, m: ChannelMsg) -> Result<(), SendError<ChannelMsg>> {
        self.credit.queued.fetch_add(1, Ordering::AcqRel);
        self.tx.send(m)
    }
    pub(crate) fn credit(&self) -> &Credit {
        &self.credit
    }
}

pub(crate) struct ChanRx {
    rx: UnboundedReceiver<ChannelMsg>,
    credit: Arc<Credit>,
}
impl ChanRx {
    fn account(&self, m: &Option<ChannelMsg>) {
        if m.is_some() {
            self.credit.queued.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) = m {
            self.credit.add(data.len() as u32);
        }
    }
    pub(crate) async fn recv(&mut self) -> Option<ChannelMsg> {
        let m = self.rx.recv().await;
        self.account(&m);
        m
    }
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<ChannelMsg>> {
        let r = self.rx.poll_recv(cx);
        if let std::task::Poll::Ready(m) = &r {
            self.account(m);
        }
        r
    }
    pub(crate) fn close(&mut self) {
        self.rx.close()
    }
}
impl Drop for ChanRx {
    fn drop(&mut self) {
        self.credit.detached.store(true, Ordering::Release);
        if let Some((w, _)) = self.credit.wake.get() {
            w.notify_one();
        }
    }
}

pub(crate) fn queue() -> (ChanTx, ChanRx) {
    let (tx, rx) = unbounded_channel();
    let credit = Arc::new(Credit::default());
    (ChanTx { tx, credit: credit.clone() }, ChanRx { rx, credit })
}

/// A handle to the [`super::Channel`]'s to be able to transmit messages
/// to it and update it's `window_size`.
#[derive(Debug)]
pub struct ChannelRef {
    pub(super) sender: ChanTx,
    pub(super) window_size: WindowSizeRef,
}

impl ChannelRef {
    pub fn new(sender: ChanTx) -> Self {
        Self {
            sender,
            window_size: WindowSizeRef::new(0),
        }
    }

    pub(crate) fn window_size(&self) -> &WindowSizeRef {
        &self.window_size
    }
}

impl Drop for ChannelRef {
    fn drop(&mut self) {
        // writers waiting for a window that will never come
        self.window_size.close();
    }
}

impl std::ops::Deref for ChannelRef {
    type Target = ChanTx;

    fn deref(&self) -> &Self::Target {
        &self.sender
    }
}
