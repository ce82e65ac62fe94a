//! Removes calls when their tenant's plan has kept them for long enough.
//!
//! In: the plans of this moment ([`KeptPlans`](crate::api::KeptPlans)) and the catalog. Out: calls that are not there
//! any more, rows and files, and what the audit has of it.
//!
//! A call goes `retention_days` times 24 hours after its end: that is when the recording is whole, so that no second of it is
//! kept for less than was sold. Nothing goes of a tenant that has no such plan or is gone itself, nor what is held, nor any call
//! of an interaction of which one is held. Fewer days than before are in force after a day
//! ([`Retention::under`](crate::access::Retention::under)), and a clock that was put forward is not believed at once ([`clock`]).
//!
//! Each batch is one tenant's, and one transaction: rows, what was added to them, what of their files is still to go, and one
//! record of the audit; then the files. Between two batches the thread rests for as long as the last one took, so that others
//! write too. Whoever is stopped on the way finds in the catalog which files are left.

pub mod clock;
mod limits;
mod state;
mod sweeper;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::clock::Moment;
pub use self::state::RetentionState;
pub use self::sweeper::Sweeper;
use super::tenancy::Tenancy;
use crate::catalog::{Home, wall_clock};
use crate::storage::Layout;

/// Between looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The same after a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A start has other things to do first.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// The thread; ends when this is finished.
pub struct Sweeping {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Sweeping {
    pub fn start(
        home: Arc<Home>,
        tenancy: Arc<Tenancy>,
        layout: Layout,
        state: Arc<RetentionState>,
    ) -> std::io::Result<Sweeping> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sweeper = Sweeper::new(home, tenancy, layout, state);
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = keep_looking(sweeper) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("retention".into());
        let thread = thread.spawn(run)?;
        Ok(Sweeping { stop, thread })
    }

    pub fn finish(self) {
        let _ = self.stop.send(());
        // A batch is small.
        let _ = self.thread.join();
    }
}

async fn keep_looking(mut sweeper: Sweeper) {
    let since = Instant::now();
    tokio::time::sleep(FIRST_LOOK).await;
    loop {
        let moment = Moment {
            wall: wall_clock(),
            steady: since.elapsed(),
        };
        if !sweeper.look(moment).await {
            tokio::time::sleep(match sweeper.is_failing() {
                true => LOOK_AGAIN,
                false => LOOK_EVERY,
            })
            .await;
        }
    }
}
