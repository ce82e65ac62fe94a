//! Keeps the catalog whole: enters what it missed, after the start and after each of its outages.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::cataloguing::enter_missing;
use super::state::State;
use crate::api::remove_files;
use crate::catalog::Home;
use crate::storage::Layout;

/// Between looks at how the catalog is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks between two at files of deleted calls.
const REMOVE_EVERY: u32 = 3;

/// The thread; ends when this is finished, whatever it is doing.
pub struct Entering {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Entering {
    pub fn start(home: Arc<Home>, layout: Layout, state: Arc<State>) -> std::io::Result<Entering> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = keep_whole(&home, &layout, &state) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("entering".into());
        let thread = thread.spawn(run)?;
        Ok(Entering { stop, thread })
    }

    pub fn finish(self) {
        let _ = self.stop.send(());
        // A look at a large storage is not interrupted, and has nothing to lose: it is not waited for.
        if self.thread.is_finished() {
            let _ = self.thread.join();
        }
    }
}

async fn keep_whole(home: &Home, layout: &Layout, state: &State) {
    let mut whole = false;
    let mut dropped = state.catalog.dropped.load(Ordering::Relaxed);
    let (mut looks, mut left) = (0u32, 0);
    loop {
        looks = looks.wrapping_add(1);
        let away = state.catalog.away.load(Ordering::Relaxed);
        let dropped_now = state.catalog.dropped.load(Ordering::Relaxed);
        whole &= !away && dropped_now == dropped;
        dropped = dropped_now;
        if !whole && !away {
            whole = try_enter(home, layout, state).await;
        }
        if whole && looks.is_multiple_of(REMOVE_EVERY) {
            left = try_remove(home, layout, left).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Removes files of deleted calls that the storage kept, or that a run before this one had no time for. Gives how many calls still have
/// theirs; `before` is what it gave last.
async fn try_remove(home: &Home, layout: &Layout, before: u64) -> u64 {
    let removed = async {
        let catalog = home.open().await?;
        let removed = remove_files(&catalog, layout).await;
        catalog.close().await;
        removed
    };
    // A catalog that is away is told of by who has calls for it.
    let Ok(removed) = removed.await else {
        return before;
    };
    match &removed.error {
        Some(error) if before == 0 => {
            let calls = removed.left;
            tracing::error!(%error, calls, "files of deleted calls cannot be removed: it is tried again");
        }
        None if before > 0 => tracing::warn!("files of deleted calls are removed"),
        _ => {}
    }
    removed.left
}

/// Whether the catalog has everything.
async fn try_enter(home: &Home, layout: &Layout, state: &State) -> bool {
    let entered = async {
        let catalog = home.open().await?;
        let entered = enter_missing(&catalog, layout).await;
        catalog.close().await;
        entered
    };
    match entered.await {
        Ok(entered) => {
            state.catalog_unreachable.store(false, Ordering::Relaxed);
            if entered > 0 {
                tracing::info!(entered, "recordings that the catalog missed are entered");
            }
            true
        }
        Err(error) => {
            if !state.catalog_unreachable.swap(true, Ordering::Relaxed) {
                let error = format!("{error:#}");
                tracing::error!(error, "the catalog cannot be asked what it has");
            }
            false
        }
    }
}
