//! The messages of one partition as librdkafka has fetched them, taken in batches straight into columns.
//!
//! The one place with `unsafe` calls into librdkafka: its batch call costs a quarter of the crate's
//! `poll`. A queue hands out memory of its client and must be gone before it is.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::client::Context;
use crate::log::BATCH_BYTES;
use crate::message::{Fetch, Header};

/// How many messages are taken from librdkafka at once: few enough that they are still in the
/// processor's cache when they are copied and given back.
const TAKE: usize = 256;
/// How close behind a value, in bytes, the next one follows in the same batch, unless keys or headers are long.
const NEAR: usize = 256;

/// Wakes a reader when one of its queues has something after it was empty.
#[derive(Default)]
pub(super) struct Wake {
    ready: Mutex<bool>,
    signal: Condvar,
}

impl Wake {
    pub(super) fn set(&self) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.signal.notify_one();
    }

    /// Waits until something came since the last call, or `deadline`; says which.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ready {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            ready = self.signal.wait_timeout(ready, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *ready = false;
        true
    }
}

/// What stands at the head of a queue besides messages to hand out.
pub(super) enum Special {
    /// The partition's end, as it was a moment ago: everything before this offset has been handed out.
    End(i64),
    /// The offset to go on at is not there any more, or not yet.
    OutOfRange(i64),
    /// Something else, at this offset; or at none, where it is negative.
    Failed(Code, i64),
    /// A message that the batch has no room for.
    Full,
}

/// A queue of librdkafka, and what was taken from it and not yet handed out.
pub(super) struct Queue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// Alive as long as librdkafka may call it.
    _wake: Arc<Wake>,
    /// Messages that are ours to destroy are `taken[head..tail]`.
    taken: Box<[*mut rd::rd_kafka_message_t]>,
    head: usize,
    tail: usize,
}

// SAFETY: librdkafka's queues and messages may be used from any thread, and a `Queue` from one at a time.
unsafe impl Send for Queue {}

impl Queue {
    /// The consumer's own queue, for its length only.
    pub(super) fn of_consumer(consumer: &BaseConsumer<Context>) -> Option<Self> {
        // SAFETY: the client lives as long as `consumer`; a null is handled by `wrap`.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Self::wrap(queue, consumer.context().wake().clone(), 0)
    }

    /// The queue of a partition, which wakes the consumer's reader. From now on the partition's messages stay in it,
    /// so it is made before they are fetched.
    pub(super) fn of_partition(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> Option<Self> {
        let wake = consumer.context().wake().clone();
        let queue = Self::wrap(native(consumer, topic, partition), wake, TAKE)?;
        // SAFETY: the queue is alive. `_wake` outlives the registration, which `drop` ends; `on_ready` takes a `Wake`.
        unsafe {
            rd::rd_kafka_queue_forward(queue.queue.as_ptr(), ptr::null_mut());
            let wake: *const Wake = Arc::as_ptr(&queue._wake);
            rd::rd_kafka_queue_cb_event_enable(queue.queue.as_ptr(), Some(on_ready), wake.cast_mut().cast());
        }
        Some(queue)
    }

    fn wrap(queue: *mut rd::rd_kafka_queue_t, wake: Arc<Wake>, capacity: usize) -> Option<Self> {
        let taken = vec![ptr::null_mut(); capacity].into_boxed_slice();
        Some(Self { queue: NonNull::new(queue)?, _wake: wake, taken, head: 0, tail: 0 })
    }

    /// How many events wait, at least.
    pub(super) fn len(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { rd::rd_kafka_queue_length(self.queue.as_ptr()) }
    }

    /// Adds what is there to `fetch`, up to a batch and to offset `end`, without waiting. Stops after
    /// something special, and gives that.
    pub(super) fn take(&mut self, fetch: &mut Fetch, messages: usize, bytes: usize, end: i64) -> Option<Special> {
        while fetch.batch.len() < messages {
            if self.head == self.tail && !self.refill() {
                return None;
            }
            self.reserve(fetch);
            while self.head < self.tail && fetch.batch.len() < messages {
                // SAFETY: `taken[head..tail]` are messages that librdkafka gave to us, not yet destroyed.
                let message = unsafe { &*self.taken[self.head] };
                if message.err != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    let special = special(message);
                    self.destroy_head();
                    return Some(special);
                }
                let size = message.len + message.key_len;
                if !fetch.batch.is_empty() && fetch.batch.bytes() + size > bytes {
                    return Some(Special::Full);
                }
                // What is beyond the end is neither handed out nor committed: it comes again. What is before the next one
                // came already: librdkafka may fetch it anew after a rebalance in which it was just being taken.
                if (fetch.next..end).contains(&message.offset) {
                    // SAFETY: as above.
                    let next = self.taken[self.head + 1..self.tail].first().map(|&next| unsafe { &*next });
                    push(fetch, message, next);
                }
                self.destroy_head();
            }
        }
        None
    }

    /// Forgets what was taken and not handed out.
    pub(super) fn clear(&mut self) {
        while self.head < self.tail {
            self.destroy_head();
        }
    }

    fn refill(&mut self) -> bool {
        // SAFETY: the array has room for as many pointers as we say. Without a timeout nothing blocks.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.taken.as_mut_ptr(), self.taken.len())
        };
        self.head = 0;
        self.tail = usize::try_from(count).unwrap_or(0);
        self.tail > 0
    }

    /// Makes room once for what is about to be copied.
    fn reserve(&self, fetch: &mut Fetch) {
        let (mut keys, mut values) = (0, 0);
        for &message in &self.taken[self.head..self.tail] {
            // SAFETY: as in `take`.
            let message = unsafe { &*message };
            keys += message.key_len;
            values += message.len;
        }
        let count = self.tail - self.head;
        fetch.batch.keys.bytes.reserve(keys.min(BATCH_BYTES));
        fetch.batch.values.bytes.reserve(values.min(BATCH_BYTES));
        fetch.batch.keys.lengths.reserve(count);
        fetch.batch.values.lengths.reserve(count);
        fetch.batch.timestamps.reserve(count);
        fetch.offsets.reserve(count);
    }

    fn destroy_head(&mut self) {
        // SAFETY: as in `take`; after this `head` is past the message, so nobody looks at it again.
        unsafe { rd::rd_kafka_message_destroy(self.taken[self.head]) };
        self.head += 1;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: the registration ends under the queue's lock, so `_wake` is not called any more; the
        // consumer's own queue keeps the registration that the crate made.
        unsafe {
            if !self.taken.is_empty() {
                rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            }
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// librdkafka calls this, with the queue locked, when a message comes to an empty queue.
unsafe extern "C" fn on_ready(_client: *mut rd::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: the pointer is the one that `of_partition` registered, alive until `drop` unregistered it.
    let wake = unsafe { &*wake.cast::<Wake>() };
    wake.set();
}

fn native(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> *mut rd::rd_kafka_queue_t {
    let Ok(topic) = CString::new(topic) else {
        return ptr::null_mut();
    };
    // SAFETY: the client lives as long as `consumer`, and the name is copied.
    unsafe { rd::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition) }
}

fn special(message: &rd::rd_kafka_message_t) -> Special {
    match Code::from(message.err) {
        Code::PartitionEOF => Special::End(message.offset),
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Special::OutOfRange(message.offset),
        code => Special::Failed(code, message.offset),
    }
}

/// Adds a message; `next` is what was taken after it.
fn push(fetch: &mut Fetch, message: &rd::rd_kafka_message_t, next: Option<&rd::rd_kafka_message_t>) {
    // SAFETY: key and payload are null or point at as many bytes, alive as long as the message.
    let (key, value) = unsafe { (bytes(message.key, message.key_len), bytes(message.payload, message.len)) };
    // SAFETY: the message is alive; the kind of timestamp may be left out.
    let timestamp = unsafe { rd::rd_kafka_message_timestamp(message, ptr::null_mut()) };
    if may_have_headers(message, next) {
        push_headers(fetch, message);
    }
    fetch.batch.push(key, value, timestamp);
    fetch.offsets.push(message.offset);
    fetch.next = message.offset + 1;
}

/// False where a record batch says that there are no headers. To ask librdkafka costs more than all else in
/// reading a message: it sets up a parser to find the number 0. So this looks at that number itself, where
/// the next message shows that it is there to be looked at.
fn may_have_headers(message: &rd::rd_kafka_message_t, next: Option<&rd::rd_kafka_message_t>) -> bool {
    let Some(next) = next.filter(|next| next.offset > message.offset) else {
        return true;
    };
    // An empty value is a constant of librdkafka's, or null, and lies in no batch.
    if message.len == 0 || next.len == 0 {
        return true;
    }
    let after = message.payload.cast::<u8>().wrapping_add(message.len);
    if !(1..=NEAR).contains(&next.payload.addr().wrapping_sub(after.addr())) {
        return true;
    }
    // SAFETY: librdkafka hands out the values of record batches of format 2 (only their messages have a leader
    // epoch) where they lie in the batch, and there the number of headers follows (Kafka's protocol guide,
    // "Record"). In a malformed record the byte may be any other, even one that another thread writes. But it
    // lies between the last byte of this value and the first of the next, which are both alive and less than
    // a page apart, so it can be read without a fault; and what is read can only make us ask librdkafka for
    // headers, or not ask.
    unsafe { rd::rd_kafka_message_leader_epoch(message) < 0 || after.read_volatile() != 0 }
}

fn push_headers(fetch: &mut Fetch, message: &rd::rd_kafka_message_t) {
    let mut headers = ptr::null_mut();
    // SAFETY: the message is alive and owns the headers. librdkafka parses them in place and takes the
    // message as const.
    let error = unsafe { rd::rd_kafka_message_headers(message, &mut headers) };
    if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return;
    }
    let index = fetch.batch.len() as u32;
    for place in 0.. {
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `headers` is alive as long as the message; past the last one the call fails.
        let error = unsafe { rd::rd_kafka_header_get_all(headers, place, &mut name, &mut value, &mut size) };
        if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        // SAFETY: a name ends with a zero byte; a value is null or points at `size` bytes.
        let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value, size)) };
        let (name, value) = (name.to_string_lossy().into_owned(), value.unwrap_or_default().to_vec());
        fetch.batch.headers.push(Header { message: index, name, value });
    }
}

/// # Safety
/// `pointer` is null or points at `length` bytes that live as long as what they are lent for.
unsafe fn bytes<'a>(pointer: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast(), length) })
}
