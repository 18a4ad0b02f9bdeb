//! llhttp beside our parser, in one run: Node has it inside, exports its functions, and loads this
//! library as one of its addons.
//!
//! ```text
//! cargo build --release -p loopwork-benches --example llhttp
//! node benches/llhttp/run.cjs target/release/examples/libllhttp.so
//! ```
//!
//! Rules of this file:
//! * llhttp is asked for the least that it can do: of its callbacks only the one for the message's
//!   end is set. Ours tells every field, and what frames the body.
//! * Rounds alternate, and a table tells the best and the median of each.

#![allow(unsafe_code)]

use loopwork_benches::{BROWSER, TECHEMPOWER};
use loopwork_http::core::{Body, Fields, Limits, Progress, parse_request};
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::hint::black_box;
use std::time::Instant;

/// Rounds of each, and how long each is at least.
const ROUNDS: usize = 25;
const ROUND_NANOS: u128 = 10_000_000;

/// More than an `llhttp_t` takes: 88 bytes in llhttp 8 and 9.
#[repr(C, align(16))]
struct Parser([u8; 512]);

/// Callbacks, more than there are; those for data have two more arguments, which a C function may
/// leave alone.
#[repr(C, align(16))]
struct Settings([Option<Callback>; 64]);

type Callback = extern "C" fn(*mut Parser) -> c_int;

/// `HTTP_REQUEST`.
const REQUEST: c_int = 1;

// SAFETY: the signatures are those of `llhttp.h`; the pointers are to room that is larger.
unsafe extern "C" {
    fn llhttp_init(parser: *mut Parser, kind: c_int, settings: *const Settings);
    fn llhttp_execute(parser: *mut Parser, bytes: *const c_char, len: usize) -> c_int;
    fn llhttp_should_keep_alive(parser: *const Parser) -> c_int;
}

thread_local! {
    static LAST: Cell<usize> = const { Cell::new(0) };
    static MESSAGES: Cell<u64> = const { Cell::new(0) };
    static KEPT: Cell<u64> = const { Cell::new(0) };
}

/// The callback of place `N` was called last.
extern "C" fn noted<const N: usize>(_: *mut Parser) -> c_int {
    LAST.set(N);
    0
}

/// As many as were ever before the one for the message's end, and some more.
const NOTED: [Callback; 16] = [
    noted::<0>,
    noted::<1>,
    noted::<2>,
    noted::<3>,
    noted::<4>,
    noted::<5>,
    noted::<6>,
    noted::<7>,
    noted::<8>,
    noted::<9>,
    noted::<10>,
    noted::<11>,
    noted::<12>,
    noted::<13>,
    noted::<14>,
    noted::<15>,
];

extern "C" fn message(parser: *mut Parser) -> c_int {
    MESSAGES.set(MESSAGES.get() + 1);
    // SAFETY: llhttp calls with its own parser.
    KEPT.set(KEPT.get() + unsafe { llhttp_should_keep_alive(parser) } as u64);
    0
}

/// Parses a message that may come any number of times on one connection, `piece` bytes at a time.
struct Llhttp {
    parser: Box<Parser>,
    _settings: Box<Settings>,
}

impl Llhttp {
    fn new() -> Self {
        // Where the callback for the message's end stands depends on the version: it is the last
        // that is called.
        Llhttp::with(NOTED.map(Some).as_slice()).message(BROWSER, BROWSER.len());
        let mut callbacks = [None; NOTED.len()];
        callbacks[LAST.get()] = Some(message as Callback);
        Llhttp::with(&callbacks)
    }

    fn with(callbacks: &[Option<Callback>]) -> Self {
        let (mut parser, mut settings) =
            (Box::new(Parser([0; 512])), Box::new(Settings([None; 64])));
        settings.0[..callbacks.len()].copy_from_slice(callbacks);
        // SAFETY: both are larger than what is read and written, and live as long as each other.
        unsafe { llhttp_init(&raw mut *parser, REQUEST, &raw const *settings) };
        Llhttp { parser, _settings: settings }
    }

    fn message(&mut self, bytes: &[u8], piece: usize) {
        for piece in black_box(bytes).chunks(piece) {
            // SAFETY: the parser is initialised, and reads so many bytes.
            let error = unsafe {
                llhttp_execute(&raw mut *self.parser, piece.as_ptr().cast(), piece.len())
            };
            assert_eq!(error, 0, "llhttp refuses");
        }
    }
}

struct Ours {
    seen: Progress,
    fields: Fields,
    limits: Limits,
}

impl Ours {
    fn message(&mut self, bytes: &[u8], piece: usize) {
        let mut end = 0;
        while end < bytes.len() {
            end = bytes.len().min(end + piece);
            let shown = black_box(&bytes[..end]);
            let parsed = parse_request(shown, &mut self.seen, &mut self.fields, &self.limits);
            let Some((request, used)) = parsed.expect("good") else { continue };
            let framing = request.framing().expect("good");
            assert!(used == bytes.len() && framing.keep_alive && framing.body == Body::None);
            return;
        }
        panic!("not whole");
    }
}

/// Nanoseconds a call in each of the rounds of two, which alternate.
fn alternate(mut one: impl FnMut(), mut two: impl FnMut()) -> [Vec<f64>; 2] {
    fn round(f: &mut impl FnMut()) -> f64 {
        let (began, mut count) = (Instant::now(), 0_u32);
        loop {
            for _ in 0..64 {
                f();
            }
            count += 64;
            let nanos = began.elapsed().as_nanos();
            if nanos >= ROUND_NANOS {
                return nanos as f64 / f64::from(count);
            }
        }
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(round(&mut one));
        times[1].push(round(&mut two));
    }
    times.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all
    })
}

fn compare() {
    println!("| request | ours best | median | llhttp best | median | ratio best | median |");
    println!("|---|---|---|---|---|---|---|");
    for (name, bytes, piece) in [
        ("TechEmpower, whole", TECHEMPOWER, usize::MAX),
        ("browser, whole, with framing", BROWSER, usize::MAX),
        ("browser, 64 bytes at a time", BROWSER, 64),
        ("browser, a byte at a time", BROWSER, 1),
    ] {
        let (mut llhttp, limits) = (Llhttp::new(), Limits::default());
        let mut ours = Ours { seen: Progress::new(), fields: Fields::new(), limits };
        let seen = [&MESSAGES, &KEPT].map(|count| count.get());
        let mut asked = 0;
        let piece = piece.min(bytes.len());
        let [a, b] = alternate(
            || ours.message(bytes, piece),
            || {
                llhttp.message(bytes, piece);
                asked += 1;
            },
        );
        let told = [&MESSAGES, &KEPT].map(|count| count.get());
        assert_eq!(told, seen.map(|count| count + asked), "llhttp saw as many as it was shown");
        let (ours, theirs) = ([a[0], a[ROUNDS / 2]], [b[0], b[ROUNDS / 2]]);
        println!(
            "| {name} | {:.0} ns | {:.0} ns | {:.0} ns | {:.0} ns | {:.2} | {:.2} |",
            ours[0],
            ours[1],
            theirs[0],
            theirs[1],
            ours[0] / theirs[0],
            ours[1] / theirs[1],
        );
    }
}

/// What Node calls when it has loaded the library.
// SAFETY: no other function of this process has the name.
#[unsafe(no_mangle)]
pub extern "C" fn napi_register_module_v1(_: *mut c_void, exports: *mut c_void) -> *mut c_void {
    compare();
    exports
}
