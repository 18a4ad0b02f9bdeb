//! Our client in the Autobahn test suite: asks its server how many cases there are, echoes in
//! each, and has it write its report. `tests/autobahn/run` starts both.
//!
//! ```text
//! cargo run --example autobahn 127.0.0.1:9001 AGENT
//! ```

use loopwork_ws::tcp::reactor::{Env, Handle, Id, Loop, Os};
use loopwork_ws::tcp::{Host, add};
use loopwork_ws::{App, End, Message, Open, Socket, Terms, Ws, dial};
use std::net::SocketAddr;

/// What is asked for.
enum Step {
    Count,
    Case,
    Report,
}

/// One case after the other, each on a connection of its own.
struct Suite {
    ws: Handle<Host<Ws<Suite>>>,
    at: SocketAddr,
    agent: String,
    next: u32,
    count: u32,
}

impl Suite {
    fn dial(&self, env: &mut Env, target: &str, step: Step) {
        let terms = Terms { server_takeover: true, client_takeover: true, ..Terms::default() };
        let open = Open {
            host: &self.at.to_string(),
            target,
            protocols: &[],
            headers: &[],
            deflate: Some(terms),
        };
        dial(env, self.ws, self.at, &open, step).expect("it can be sent");
    }
}

impl App for Suite {
    type Conn = Step;

    fn on_message(&mut self, step: &mut Step, socket: &mut Socket<'_>, message: Message<'_>) {
        match (step, message) {
            (Step::Count, Message::Text(text)) => self.count = text.parse().expect("a number"),
            (Step::Case, message) => drop(socket.send(&message)),
            (Step::Report | Step::Count, _) => {}
        }
    }

    fn on_close(&mut self, step: Step, _: Id, env: &mut Env, end: &End<'_>) {
        if matches!(step, Step::Count | Step::Report) && !end.clean {
            eprintln!("autobahn: {:?}", end.failure);
            std::process::exit(1);
        }
        if matches!(step, Step::Report) {
            return;
        }
        self.next += 1;
        if self.next <= self.count {
            let target = format!("/runCase?case={}&agent={}", self.next, self.agent);
            return self.dial(env, &target, Step::Case);
        }
        self.dial(env, &format!("/updateReports?agent={}", self.agent), Step::Report);
    }
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().and_then(|at| at.parse().ok()).expect("IP:PORT");
    let agent = arguments.next().expect("AGENT");
    let mut lp = Loop::new(Os::new()?);
    let ws = add(&mut lp, |ws| {
        let mut ws = Ws::new(Suite { ws, at, agent, next: 0, count: 0 });
        // Every message of the suite is compressed, or the cases would say little.
        ws.config.compress_from = 0;
        ws
    });
    lp.with(ws, |host, cx| host.protocol.app.dial(cx.env, "/getCaseCount", Step::Count));
    lp.run()?;
    let suite = &lp.get(ws).protocol.app;
    println!("{} cases", suite.count);
    Ok(())
}
