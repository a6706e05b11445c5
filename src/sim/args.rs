//! The command line's options of `sim`, `repro` and `replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, PathBufValueParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};

use super::bursts::WeatherName;
use super::choices::Choices;
use super::grown::Shape;
use super::lifetimes::Lifetimes;
use super::load::LoadPlan;
use super::network::{MAX_PEERS, Weather};
use super::sabotage::{self, SABOTEURS, Saboteur};
use super::storm::StormPlan;
use crate::config::{FILE_COPIES, REPLICAS, WIDTH};
use crate::overlay::OverlayKind;
use crate::raw_text::output_file;
use crate::time::parse_time;

/// An overlay's name.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum OverlayName {
    /// Kademlia: XOR distance, iterative lookups.
    #[default]
    #[value(alias = "kademlia")]
    Kad,
    /// The ring: Chord, forwarded lookups.
    Ring,
}

impl From<OverlayName> for OverlayKind {
    fn from(name: OverlayName) -> Self {
        match name {
            OverlayName::Kad => Self::Kademlia,
            OverlayName::Ring => Self::Ring,
        }
    }
}

/// The options of `sim`.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    /// How peers find one another
    #[arg(long, env = "KADRING_OVERLAY", value_enum, default_value_t)]
    pub overlay: OverlayName,
    /// Peers in the network; in a storm 20 to 60 are usual [default: 1000; in a storm drawn from the seed]
    #[arg(long, env = "KADRING_PEERS", value_name = "N")]
    pub peers: Option<usize>,
    /// The same seed gives the same run
    #[arg(long, env = "KADRING_SEED", value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Lookups, spread evenly over the time
    #[arg(long, env = "KADRING_LOOKUPS", value_name = "N", default_value_t = 1000)]
    pub lookups: usize,
    /// Peers that die a minute on average, without a word; each is replaced, so that a peer lives for peers/RATE
    /// minutes
    #[arg(long, env = "KADRING_CHURN", value_name = "RATE", default_value_t = 0.0)]
    pub churn: f64,
    /// How long each peer lives, where there is churn
    #[arg(long, env = "KADRING_LIFETIMES", value_enum, default_value_t)]
    pub lifetimes: Lifetimes,
    /// A network as people know it: its delays, and losses that come in bursts
    #[arg(long, env = "KADRING_WEATHER", value_enum, value_name = "NAME")]
    pub weather: Option<WeatherName>,
    /// Share of datagrams that are lost one by one, besides, 0 to 1
    #[arg(long, env = "KADRING_LOSS", value_name = "SHARE", default_value_t = 0.0)]
    pub loss: f64,
    /// Share of all pairs of peers between which datagrams pass one way only, 0 to 1; connections stand
    #[arg(long, env = "KADRING_ONE_WAY", value_name = "SHARE", default_value_t = 0.0)]
    pub one_way: f64,
    /// Round trip between any two peers, such as 20ms [default: the weather's, or 20ms]
    #[arg(long, env = "KADRING_RTT", value_name = "TIME", value_parser = parse_time)]
    pub rtt: Option<Duration>,
    /// What a message may take longer than half a round trip [default: the weather's, or 5ms]
    #[arg(long, env = "KADRING_JITTER", value_name = "TIME", value_parser = parse_time)]
    pub jitter: Option<Duration>,
    /// Share of slow peers, 0 to 1: half of them answer 300 ms to 1 s late, the others stop for 1 to 5 s every 30 s or
    /// so
    #[arg(long, env = "KADRING_SLOW", value_name = "SHARE", default_value_t = 0.0)]
    pub slow: f64,
    /// Share of all peers that die just before the lookups begin, so that every table is full of them
    #[arg(long, env = "KADRING_DEAD", value_name = "SHARE", default_value_t = 0.0)]
    pub dead: f64,
    /// Share of all peers that die at once, when a quarter of the time has passed
    #[arg(long, env = "KADRING_KILL", value_name = "SHARE", default_value_t = 0.0)]
    pub kill: f64,
    /// Files of 16 KiB that are stored in the first tenth of the time
    #[arg(long, env = "KADRING_FILES", value_name = "N", default_value_t = 0)]
    pub files: usize,
    /// Copies of each block that the network keeps
    #[arg(long, env = "KADRING_REPLICAS", value_name = "N", default_value_t = REPLICAS)]
    pub replicas: usize,
    /// Virtual minutes that the run lasts
    #[arg(long, env = "KADRING_MINUTES", value_name = "N", default_value_t = 1.0)]
    pub minutes: f64,
    /// Contacts in a bucket (Kademlia), or peers in a successor list (ring) [default: as live peers have them]
    #[arg(long, env = "KADRING_TABLE", value_name = "K")]
    pub table: Option<usize>,
    /// File for the numbers, as comma-separated values
    #[arg(long, env = "KADRING_CSV", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub csv: Option<PathBuf>,
    /// File for a plot
    #[arg(long, env = "KADRING_SVG", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,
    /// Instead of a large network: a small one in which much goes wrong, and everything must be in order afterwards
    #[arg(long, env = "KADRING_STORM", value_parser = BoolishValueParser::new())]
    pub storm: bool,
    /// Let the storm strike a classroom ring, whose users store and request files by name
    #[arg(long, env = "KADRING_CLASSROOM", value_parser = BoolishValueParser::new())]
    pub classroom: bool,
    /// One storm after another, from the seed on, until one fails or the program is ended
    #[arg(long, env = "KADRING_SOAK", value_parser = BoolishValueParser::new())]
    pub soak: bool,
    /// Faults in a storm, and a firewall before a peer more for each eight [default: drawn from the seed]
    #[arg(long, env = "KADRING_FAULTS", value_name = "N")]
    pub faults: Option<usize>,
    /// Let only these faults of a storm strike, by their numbers, or none
    #[arg(long, env = "KADRING_ONLY", value_name = "LIST")]
    pub only: Option<String>,
    /// Hostile peers in a storm (two at most in a classroom's): they lie, take and never give, forge, flood,
    /// come and go, refuse, and do not answer
    #[arg(long, env = "KADRING_HOSTILE", value_name = "N", default_value_t = 0)]
    pub hostile: usize,
    /// If a storm fails, find a shorter schedule of faults that still fails
    #[arg(long, env = "KADRING_SHRINK", value_parser = BoolishValueParser::new())]
    pub shrink: bool,
    /// File for everything that happens in a storm, as JSON lines
    #[arg(long, env = "KADRING_TRACE", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub trace: Option<PathBuf>,
    /// File for a record of all peers of a storm, for `kadring replay` and `kadring trace`
    #[arg(long, env = "KADRING_RECORD", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub record: Option<PathBuf>,
    /// File for a page of a storm, as `kadring trace --html` writes it of its record
    #[arg(long, env = "KADRING_HTML", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Break the driver on purpose, and find a storm that shows it; `list` for the ways there are
    #[arg(long, env = "KADRING_SABOTEUR", value_name = "NAME")]
    pub saboteur: Option<String>,
    /// Step through a storm as lines ask for it, forwards and backwards; `help` tells the words
    #[arg(long, env = "KADRING_STEP", value_parser = BoolishValueParser::new())]
    pub step: bool,
    /// Begin to step where so many moments have happened
    #[arg(long, env = "KADRING_AT", value_name = "N", requires = "step")]
    pub at: Option<usize>,
    /// Have other things come first in a storm, as `choose` does when one steps: after how many moments which of those
    /// that wait
    #[arg(long, env = "KADRING_CHOOSE", value_name = "MOMENTS:N,...")]
    pub choose: Option<Choices>,
}

/// The options of `repro`.
#[derive(Args, Clone, Debug)]
pub struct ReproArgs {
    /// An experiment, `list` for their names, or `all`
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: String,
    /// A size that takes seconds
    #[arg(long, env = "KADRING_QUICK", value_parser = BoolishValueParser::new())]
    pub quick: bool,
    /// The same seed gives the same numbers
    #[arg(long, env = "KADRING_SEED", value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Folder for the numbers, as comma-separated values
    #[arg(long, env = "KADRING_CSV", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub csv: Option<PathBuf>,
    /// Folder for plots
    #[arg(long, env = "KADRING_SVG", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub svg: Option<PathBuf>,
}

/// The arguments of `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// What a peer or a storm wrote with `--record`
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only this peer of a storm, by its number
    #[arg(long, env = "KADRING_PEER", value_name = "N")]
    pub peer: Option<usize>,
    /// Step through it as lines ask for it, forwards and backwards; `help` tells the words
    #[arg(long, env = "KADRING_STEP", value_parser = BoolishValueParser::new())]
    pub step: bool,
    /// Begin to step where so many moments have happened
    #[arg(long, env = "KADRING_AT", value_name = "N", requires = "step")]
    pub at: Option<usize>,
}

/// The arguments of `trace`.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// What peers of one network wrote with `--record`, or what a storm wrote
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Show one request with what came of it, or what led to it: the number or name of a command, the first digits of a
    /// key, or a sort of message, job or event
    #[arg(long, env = "KADRING_ONLY", value_name = "COMMAND|KEY|TYPE")]
    pub only: Option<String>,
    /// Show only where this pattern is found: sorts of messages, jobs or events that each came of the one before, as in
    /// 'find_node nodes store'; … or ... stands for anything in between
    #[arg(long, env = "KADRING_FIND", value_name = "PATTERN", conflicts_with = "only")]
    pub find: Option<String>,
    /// Show only these peers, by their numbers in a storm or the names of their files
    #[arg(long, env = "KADRING_PEER", value_name = "NAME", value_delimiter = ',')]
    pub peer: Vec<String>,
    /// Compare with another run, recorded in these files, and mark what differs
    #[arg(long, env = "KADRING_DIFF", value_name = "FILE", num_args = 1.., value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["find", "svg", "chrome"])]
    pub diff: Vec<PathBuf>,
    /// Instead of columns, write one page for a browser, which needs no network
    #[arg(long, env = "KADRING_HTML", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Instead of columns, write a picture: of one request, as `--only` shows it
    #[arg(long, env = "KADRING_SVG", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,
    /// Instead of columns, write a file for Perfetto (ui.perfetto.dev)
    #[arg(long, env = "KADRING_CHROME", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub chrome: Option<PathBuf>,
}

/// The kind of run that the options of `sim` ask for.
#[derive(Clone, Debug)]
pub enum RunKind {
    /// A large network under load.
    Load(LoadPlan),
    /// A storm, or many.
    Storm(StormPlan),
    /// A storm that shows that the driver is broken: this one, or the first of those that follow.
    Sabotage(&'static Saboteur, StormPlan),
    /// The names of all saboteurs.
    Saboteurs,
}

impl SimArgs {
    /// The run that these options ask for.
    ///
    /// # Errors
    /// Why that is impossible, for people.
    pub fn plan(&self) -> Result<RunKind, String> {
        if !(self.storm || self.soak) {
            return self.load_plan().map(RunKind::Load);
        }
        let plan = self.storm_plan();
        match &self.saboteur {
            Some(name) if name == "list" => Ok(RunKind::Saboteurs),
            _ => {
                plan.map(|plan| plan.saboteur.map_or(RunKind::Storm(plan.clone()), |way| RunKind::Sabotage(way, plan)))
            }
        }
    }

    fn load_plan(&self) -> Result<LoadPlan, String> {
        let only_in_storms = [
            ("--faults", self.faults.is_some()),
            ("--only", self.only.is_some()),
            ("--shrink", self.shrink),
            ("--hostile", self.hostile > 0),
            ("--classroom", self.classroom),
            ("--trace", self.trace.is_some()),
            ("--record", self.record.is_some()),
            ("--html", self.html.is_some()),
            ("--saboteur", self.saboteur.is_some()),
            ("--step", self.step),
            ("--choose", self.choose.is_some()),
        ];
        if let Some((option, _)) = only_in_storms.iter().find(|(_, given)| *given) {
            return Err(format!("{option} is about storms: give --storm or --soak with it"));
        }
        let peers = self.peers.unwrap_or(1000);
        within("--peers", peers as f64, 2.0, MAX_PEERS as f64 / 2.0)?;
        within("--slow", self.slow, 0.0, 1.0)?;
        within("--dead", self.dead, 0.0, 0.99)?;
        within("--kill", self.kill, 0.0, 0.99)?;
        within("--replicas", self.replicas as f64, 1.0, WIDTH as f64)?;
        within("--minutes", self.minutes, 0.01, 100_000.0)?;
        let joins = self.churn * self.minutes;
        within("--churn", self.churn, 0.0, f64::MAX)?;
        if joins > (MAX_PEERS - peers) as f64 {
            return Err(format!(
                "--churn {} for {} minutes needs {joins:.0} further addresses; there are {} in all",
                self.churn, self.minutes, MAX_PEERS
            ));
        }
        let weather = self.load_weather()?;
        let kind = OverlayKind::from(self.overlay);
        let mut shape = Shape::usual(kind);
        if let Some(table) = self.table {
            within("--table", table as f64, 1.0, 1000.0)?;
            match kind {
                OverlayKind::Kademlia => shape.bucket = table,
                OverlayKind::Ring => shape.successors = table,
            }
        }
        Ok(LoadPlan {
            shape,
            seed: self.seed,
            peers,
            lookups: self.lookups,
            lasts: Duration::from_secs_f64(self.minutes * 60.0),
            weather,
            churn: self.churn,
            lifetimes: self.lifetimes,
            dead: self.dead,
            slow: self.slow,
            kill: self.kill,
            files: self.files,
            replicas: self.replicas,
        })
    }

    /// The network of a load: the named weather, and what is asked for besides.
    fn load_weather(&self) -> Result<Weather, String> {
        within("--loss", self.loss, 0.0, 1.0)?;
        within("--one-way", self.one_way, 0.0, 1.0)?;
        let named = self.weather.map_or_else(Weather::default, WeatherName::weather);
        let (rtt, jitter) = (self.rtt.unwrap_or(named.rtt), self.jitter.unwrap_or(named.jitter));
        let range = Duration::from_micros(2)..=Duration::from_secs(60);
        if !range.contains(&rtt) || jitter > *range.end() {
            return Err("--rtt goes from 2us to 60s, --jitter up to 60s".to_owned());
        }
        Ok(Weather { rtt, jitter, loss: self.loss, one_way: self.one_way, ..named })
    }

    /// The plan with as many peers and faults as are asked for.
    pub(super) fn resized(&self, plan: StormPlan) -> StormPlan {
        StormPlan { peers: self.peers.unwrap_or(plan.peers), faults: self.faults.unwrap_or(plan.faults), ..plan }
    }

    fn storm_plan(&self) -> Result<StormPlan, String> {
        let only_outside = [
            ("--churn", self.churn != 0.0),
            ("--weather", self.weather.is_some()),
            ("--loss", self.loss != 0.0),
            ("--one-way", self.one_way != 0.0),
            ("--slow", self.slow != 0.0),
            ("--dead", self.dead != 0.0),
            ("--kill", self.kill != 0.0),
            ("--files", self.files != 0),
            ("--table", self.table.is_some()),
            ("--csv", self.csv.is_some()),
            ("--svg", self.svg.is_some()),
        ];
        if let Some((option, _)) = only_outside.iter().find(|(_, given)| *given) {
            return Err(format!("{option} has no meaning in a storm, whose faults follow from its seed"));
        }
        let writes = self.trace.is_some() || self.record.is_some() || self.html.is_some();
        let of_one = [self.only.is_some(), writes, self.saboteur.is_some(), self.step, self.choose.is_some()];
        if self.soak && of_one.contains(&true) {
            let options = "--only, --trace, --record, --html, --saboteur, --step and --choose";
            return Err(format!("{options} are about one storm, --soak runs many"));
        }
        if self.step && (writes || self.shrink) {
            let options = "--trace, --record, --html and --shrink";
            return Err(format!("--step writes nothing and tries no other storm: leave out {options}"));
        }
        let saboteur = self.saboteur.as_deref().map(sabotage::find);
        let mut plan = match saboteur {
            Some(Some(saboteur)) => saboteur.plan(self.seed),
            Some(None) if self.saboteur.as_deref() != Some("list") => {
                let names: Vec<&str> = SABOTEURS.iter().map(|saboteur| saboteur.name).collect();
                return Err(format!("there is no saboteur of that name; there are {}, and list", names.join(", ")));
            }
            _ if self.classroom => StormPlan::classroom(self.seed),
            _ => StormPlan::random(self.overlay.into(), self.seed),
        };
        plan = self.resized(plan);
        // Of the peers that should have a file, one at least is honest.
        let most = if plan.classroom { FILE_COPIES - 1 } else { 100 };
        within("--hostile", self.hostile as f64, 0.0, most as f64)?;
        plan.hostile = self.hostile;
        within("--peers", plan.peers as f64, 2.0, if plan.classroom { 128.0 } else { 1000.0 })?;
        within("--faults", plan.faults as f64, 0.0, 10_000.0)?;
        plan.only = self.only.as_deref().map(|list| parse_only(list, plan.strikes().len())).transpose()?;
        plan.choices = self.choose.clone().unwrap_or_default();
        Ok(plan)
    }
}

/// `none`, or numbers between commas.
fn parse_only(list: &str, faults: usize) -> Result<Vec<usize>, String> {
    if list == "none" {
        return Ok(Vec::new());
    }
    let number = |word: &str| match word.trim().parse() {
        Ok(number) if number < faults => Ok(number),
        Ok(number) => {
            Err(format!("--only names fault {number}, and the faults are numbered 0 to {}", faults as i64 - 1))
        }
        Err(_) => Err(format!("--only takes numbers between commas, or none; '{word}' is neither")),
    };
    list.split(',').map(number).collect()
}

fn within(option: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(format!("{option} goes from {least} to {most}")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: SimArgs,
    }

    fn plan(words: &str) -> Result<RunKind, String> {
        CommandLine::parse_from(std::iter::once("sim").chain(words.split_whitespace())).args.plan()
    }

    #[test]
    fn a_plan_s_own_command_gives_the_plan_again() {
        let broken = SABOTEURS.iter().map(|saboteur| saboteur.plan(77));
        for random in [StormPlan::random(OverlayKind::Ring, 77), StormPlan::classroom(77)].into_iter().chain(broken) {
            let choices = "7:1,40:2".parse().expect("two choices");
            let hostile = if random.classroom { 2 } else { 3 };
            let storm = StormPlan { only: Some(vec![1, 2]), choices, hostile, ..random };
            let words = storm.to_string();
            let words = words.strip_prefix("kadring sim").expect("it is a command of this program");
            let Ok(RunKind::Storm(again) | RunKind::Sabotage(_, again)) = plan(words) else { panic!("{words}") };
            assert_eq!((again.to_string(), again.striking()), (storm.to_string(), vec![1, 2]));
        }
    }

    #[test]
    fn an_overlay_is_named_as_a_peer_s_status_names_it_too() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let told = serde_json::to_value(kind).expect("a word");
            let name = OverlayName::from_str(told.as_str().expect("a word"), false).expect("an overlay");
            assert_eq!(OverlayKind::from(name), kind);
        }
    }

    #[test]
    fn a_weather_s_delays_hold_unless_others_are_asked_for_and_losses_come_besides() {
        let weather = |words| match plan(words) {
            Ok(RunKind::Load(plan)) => plan.weather,
            other => panic!("{words}: {other:?}"),
        };
        let satellite = WeatherName::Satellite.weather();
        assert_eq!(weather("--weather satellite"), satellite);
        let nearer = Weather { rtt: Duration::from_millis(30), loss: 0.5, ..satellite };
        assert_eq!(weather("--weather satellite --rtt 30ms --loss 0.5"), nearer);
        assert_eq!(weather(""), Weather::default());
    }

    #[test]
    fn what_cannot_be_is_refused_and_said_why() {
        for (words, why) in [
            ("--peers 1", "--peers"),
            ("--peers 99999999", "--peers"),
            ("--loss 1.5", "--loss"),
            ("--loss NaN", "--loss"),
            ("--kill 1", "--kill"),
            ("--dead 1", "--dead"),
            ("--slow 1.1", "--slow"),
            ("--one-way 2", "--one-way"),
            ("--minutes 0", "--minutes"),
            ("--churn 1e9", "addresses"),
            ("--rtt 0ms", "--rtt"),
            ("--shrink", "--storm"),
            ("--classroom", "--storm"),
            ("--hostile 1", "--storm"),
            ("--storm --hostile 3 --classroom", "--hostile"),
            ("--storm --loss 0.1", "storm"),
            ("--storm --weather wifi", "storm"),
            ("--storm --faults 3 --only 3", "0 to 2"),
            ("--storm --only x", "numbers"),
            ("--soak --trace /tmp/x", "--soak"),
            ("--soak --html /tmp/x", "--soak"),
            ("--html /tmp/x", "--storm"),
            ("--soak --step", "--soak"),
            ("--step", "--storm"),
            ("--choose 1:2", "--storm"),
            ("--storm --step --shrink", "--shrink"),
            ("--saboteur lost-tick", "--storm"),
            ("--storm --saboteur nobody", "early-outcome"),
            ("--soak --saboteur lost-tick", "--soak"),
        ] {
            let refusal = plan(words).expect_err(words);
            assert!(refusal.contains(why), "{words}: {refusal}");
        }
    }
}
