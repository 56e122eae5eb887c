//! What all parts of a running delivery share.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::DbError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::egress::Egress;
use super::feed::Feed;
use super::model::Round;
use super::options::Options;
use super::signing::Signing;
use super::vitals::Vitals;
use crate::hub::Hub;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The hub.
    pub hub: Hub,
    /// The way out.
    pub egress: Egress,
    /// What signs.
    pub signing: Signing,
    /// The log in memory.
    pub feed: Arc<Feed>,
    /// How patient delivery is.
    pub options: Options,
    /// Signs of life of the tasks.
    pub vitals: Vitals,
    /// One permit for each round that is being made.
    pub(super) preparing: Semaphore,
    /// Room for sealed requests, in KiB.
    room: Arc<Semaphore>,
}

/// Room for sealed requests, in KiB: enough to keep any number of cores and lines busy.
const ROOM_KIB: u32 = 32 << 10;

/// How many rounds are made at once for each signing thread.
const PREPARING_PER_THREAD: usize = 8;

impl Shared {
    /// What sealing and sending a single request need, without a running delivery.
    ///
    /// # Errors
    /// What the database or the system reports.
    pub async fn for_one(hub: Hub, egress: Egress) -> Result<Arc<Self>, DbError> {
        Self::new(hub, egress, Options::default()).await
    }

    pub(super) async fn new(hub: Hub, egress: Egress, options: Options) -> Result<Arc<Self>, DbError> {
        let feed = Feed::start(hub.db.clone(), options.poll).await?;
        let signing = Signing::start(options.signing).map_err(|error| DbError::Other(error.to_string()))?;
        let preparing = Semaphore::new(signing.threads() * PREPARING_PER_THREAD);
        Ok(Arc::new(Self {
            hub,
            egress,
            signing,
            feed,
            options,
            vitals: Vitals::default(),
            preparing,
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
        }))
    }

    /// Waits until there is room for a round's requests.
    pub(super) async fn room_for(&self, round: &Round) -> Option<OwnedSemaphorePermit> {
        // Encryption and twice base64 make it almost twice as long.
        let kib = round.bytes().saturating_mul(2) / 1_024 + 1;
        let kib = u32::try_from(kib).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        Arc::clone(&self.room).acquire_many_owned(kib).await.ok()
    }

    /// A duration, a fifth longer or shorter at random, so that what failed together is not tried
    /// again together.
    pub(super) fn jitter(&self, duration: Duration) -> Duration {
        let mut byte = [0_u8; 2];
        self.hub.random.fill(&mut byte);
        duration.mul_f64(0.8 + 0.4 * f64::from(u16::from_be_bytes(byte)) / f64::from(u16::MAX))
    }
}
