//! picohttpparser, a parser in C with SSE4.2, behind two safe functions.
//!
//! Rule: the only file of this bench with `unsafe`.

#![allow(unsafe_code)]

use picohttpparser_sys::{phr_header, phr_parse_request, phr_parse_response};
use std::mem::MaybeUninit;
use std::ptr::null;

/// The headers that there is room for.
const HEADERS: usize = 32;

type Table = [MaybeUninit<phr_header>; HEADERS];

/// Parses the head of a request: its length, and the number of its headers.
pub(crate) fn request(bytes: &[u8]) -> (i32, usize) {
    let mut table: Table = [const { MaybeUninit::uninit() }; HEADERS];
    let (mut method, mut target, mut minor, mut headers) = ((null(), 0), (null(), 0), 0, HEADERS);
    // SAFETY: `bytes` may be read for its length, and all that is written to outlives the call;
    // `headers` says how many entries the table has, which need not be initialised.
    let used = unsafe {
        phr_parse_request(
            bytes.as_ptr().cast(),
            bytes.len(),
            &mut method.0,
            &mut method.1,
            &mut target.0,
            &mut target.1,
            &mut minor,
            table.as_mut_ptr().cast(),
            &mut headers,
            0,
        )
    };
    std::hint::black_box((&table, method, target));
    (used, headers)
}

/// Parses the head of a response: its length, and the number of its headers.
pub(crate) fn response(bytes: &[u8]) -> (i32, usize) {
    let mut table: Table = [const { MaybeUninit::uninit() }; HEADERS];
    let (mut reason, mut minor, mut status, mut headers) = ((null(), 0), 0, 0, HEADERS);
    // SAFETY: as above.
    let used = unsafe {
        phr_parse_response(
            bytes.as_ptr().cast(),
            bytes.len(),
            &mut minor,
            &mut status,
            &mut reason.0,
            &mut reason.1,
            table.as_mut_ptr().cast(),
            &mut headers,
            0,
        )
    };
    std::hint::black_box((&table, reason, status));
    (used, headers)
}
