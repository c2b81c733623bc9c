//! A wire between two Lightning nodes that goes dead in the middle of a splice's negotiation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// `splice_init` (BOLT 2) as it goes over the wire (BOLT 8): a sealed length, and 83 bytes sealed.
const SPLICE_INIT: usize = 18 + 83 + 16;
/// What may go in one piece with it: nothing, a ping of the library's, a pong.
const BESIDE: [usize; 3] = [0, 18 + 70 + 16, 18 + 4 + 16];

/// The wire. It ends when this is dropped.
pub(super) struct Relay {
    /// Where the one node finds the other.
    pub(super) address: String,
    state: Arc<State>,
    _stop: DropGuard,
}

#[derive(Default)]
struct State {
    /// The next splice that is begun from the near side is cut off.
    armed: AtomicBool,
    /// Nobody gets through.
    dead: AtomicBool,
    cuts: AtomicU32,
}

impl Relay {
    /// To the node at `far`.
    pub(super) async fn to(far: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (state, stop, tasks) = (Arc::new(State::default()), CancellationToken::new(), TaskTracker::new());
        let (shared, ending, far) = (Arc::clone(&state), stop.clone(), far.to_owned());
        tasks.clone().spawn(ending.clone().run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&far).await else { continue };
                if !shared.dead.load(Ordering::SeqCst) {
                    let carried = carry(near, far, Arc::clone(&shared));
                    tasks.spawn(ending.clone().run_until_cancelled_owned(carried));
                }
            }
        }));
        Relay { address, state, _stop: stop.drop_guard() }
    }

    /// The next splice that the near node begins never reaches the other: both agreed to be quiet, the wire takes
    /// `splice_init` and goes dead.
    pub(super) fn cut_the_next_splice(&self) {
        self.state.armed.store(true, Ordering::SeqCst);
    }

    /// How often it was cut.
    pub(super) fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// It carries again.
    pub(super) fn mend(&self) {
        self.state.dead.store(false, Ordering::SeqCst);
    }
}

async fn carry(near: TcpStream, far: TcpStream, state: Arc<State>) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let away = async {
        let mut piece = vec![0; 1 << 16];
        while let Ok(length) = from_near.read(&mut piece).await {
            let begins = BESIDE.iter().any(|beside| length == SPLICE_INIT + beside);
            if begins && state.armed.swap(false, Ordering::SeqCst) {
                state.dead.store(true, Ordering::SeqCst);
                state.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if length == 0 || to_far.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = away => {}
        _ = copy(&mut from_far, &mut to_near) => {}
    }
}
