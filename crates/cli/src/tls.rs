//! TLS on the command line: what a server shows, whom a client believes.

use crate::common::{Fail, talk, text};
use clap::{Arg, ArgAction, ArgMatches};
use loopwork::Env;
use loopwork::tls::config::{self, Clients, Identity, Refused, Trust};
use loopwork::tls::rustls::pki_types::ServerName;
use loopwork::tls::rustls::{ClientConfig, KeyLog, KeyLogFile, ServerConfig};
use loopwork::tls::{Conn, Failure, Failures};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The flags of a server.
pub(crate) fn server_args() -> [Arg; 3] {
    let file = |name, help| Arg::new(name).long(name).value_name("FILE").help(help);
    [
        file("tls-cert", "Speak TLS, and show these certificates: PEM, our own first")
            .requires("tls-key"),
        file("tls-key", "The private key to them: PEM").requires("tls-cert"),
        Arg::new("tls-self-signed")
            .long("tls-self-signed")
            .help("Speak TLS with a certificate made on the spot, that nobody has signed")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(["tls-cert", "tls-key"]),
    ]
}

/// What a server is to show, if it is to speak TLS; `here` is where it listens.
pub(crate) fn server(
    matches: &ArgMatches,
    here: IpAddr,
    protocols: &[&[u8]],
) -> Result<Option<Arc<ServerConfig>>, Fail> {
    let identity = match (text(matches, "tls-cert"), text(matches, "tls-key")) {
        (Some(cert), Some(key)) => config::identity(Path::new(cert), Path::new(key)),
        _ if matches.get_flag("tls-self-signed") => self_signed(here),
        _ => return Ok(None),
    };
    let config = config::server_for(
        vec![identity.map_err(|why| refused(&why))?],
        &Clients::Anyone,
        protocols,
    );
    let mut config = config.map_err(|why| refused(&why))?;
    if let Some(log) = key_log() {
        talk("the keys of all connections go to SSLKEYLOGFILE: who has that file can read them");
        Arc::make_mut(&mut config).key_log = log;
    }
    Ok(Some(config))
}

/// Where `SSLKEYLOGFILE` says that secrets go, for Wireshark and such, as with curl and browsers.
fn key_log() -> Option<Arc<dyn KeyLog>> {
    let asked = std::env::var_os("SSLKEYLOGFILE").is_some_and(|path| !path.is_empty());
    asked.then(|| Arc::new(KeyLogFile::new()) as Arc<dyn KeyLog>)
}

fn self_signed(here: IpAddr) -> Result<Identity, Refused> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_string).to_vec();
    let own = here.to_string();
    if !here.is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    let (identity, _) = config::self_signed(&names)?;
    talk("the certificate is self-signed: clients have to be told to trust it, as by -k");
    Ok(identity)
}

/// The flags of a client, curl's.
pub(crate) fn client_args() -> [Arg; 4] {
    let file = |name, help| Arg::new(name).long(name).value_name("FILE").help(help);
    [
        Arg::new("insecure")
            .short('k')
            .long("insecure")
            .help("Believe any server, whatever it shows: anyone on the way can read and change it")
            .action(ArgAction::SetTrue),
        file("cacert", "Believe servers that these have signed, and no others: PEM"),
        file("cert", "Show the server these certificates: PEM, our own first"),
        file("key", "The private key to them; without it, it is in the same file").requires("cert"),
    ]
}

/// Whom a client believes, and what it shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    anybody: bool,
    roots: Option<Trust>,
    own: Option<Identity>,
}

impl Wanted {
    /// Files that cannot be used are told now, before anything is sent: curl's codes 77 and 58.
    pub(crate) fn of(matches: &ArgMatches) -> Result<Wanted, Fail> {
        let mut wanted = Wanted { anybody: matches.get_flag("insecure"), ..Wanted::default() };
        if let Some(path) = text(matches, "cacert") {
            let roots = config::certificates(Path::new(path));
            let roots = roots.map_err(|why| Fail::new(77, format!("{why}; check --cacert")))?;
            wanted.roots = Some(Trust::Roots(roots));
        }
        if let Some(path) = text(matches, "cert") {
            let key = text(matches, "key").unwrap_or(path);
            let own = config::identity(Path::new(path), Path::new(key));
            wanted.own =
                Some(own.map_err(|why| Fail::new(58, format!("{why}; check --cert and --key")))?);
        }
        Ok(wanted)
    }

    /// To be called when it is needed: to read whom this machine believes takes a while.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Refused> {
        let mut config = match &self.roots {
            _ if self.anybody => config::client_without_checks(self.own.clone()),
            Some(roots) => config::client(roots, self.own.clone()),
            None => config::client(&Trust::Machine, self.own.clone()),
        }?;
        if let Some(log) = key_log() {
            Arc::make_mut(&mut config).key_log = log;
        }
        Ok(config)
    }
}

/// What connections need that lead to whoever proves to have a name.
#[derive(Clone)]
pub(crate) struct Dialing {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Dialing {
    /// A connection to be dialed.
    pub(crate) fn conn<C>(&self, inner: C) -> Result<Conn<C>, Fail> {
        Conn::client(&self.config, self.name.clone(), inner).map_err(|(why, _)| refused(&why))
    }
}

fn refused(why: &dyn std::fmt::Display) -> Fail {
    Fail::failed(format!("cannot speak TLS: {why}"))
}

impl Wanted {
    /// For connections to whoever proves to have this name.
    pub(crate) fn dialing(&self, host: &str) -> Result<Dialing, Fail> {
        let config = self.config().map_err(|why| refused(&why))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let name = ServerName::try_from(bare).map_err(|why| refused(&why))?;
        let dialing = Dialing { config, name };
        // Whether it can be begun at all.
        dialing.conn(())?;
        Ok(dialing)
    }
}

/// Why TLS gave up last: curl's exit code, and the words for it.
pub(crate) fn why(env: &mut Env, place: &str) -> Option<(u8, String)> {
    let why = env.shared.one::<Failures>().last()?;
    let text = format!("no secure connection to {place}: {why}");
    Some(match why {
        why if why.is_certificate() => {
            (60, format!("{text}; --cacert FILE trusts another signer, -k believes anybody"))
        }
        Failure::Truncated => (56, text),
        _ => (35, text),
    })
}
