//! kill -9 of the host at every step of a swap: then each partition goes on with the version that its last checkpoint
//! names, and all of them come to the same one.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use xtask::kafka::Broker;

use super::chance::{Chance, pass};
use super::pipeline::Work;
use super::process::Host;
use super::proxy::{Api, Fault, Proxy};
use super::stamped::{Stamped, VERSIONS};
use super::stream::{Stream, TIMEOUTS};
use crate::operator;
use crate::program::{Running, host, plugin, wait_for};

/// So many that their state takes a while to be copied.
const GROUPS: u64 = 5_000;

/// A trial may last for half of this.
const TRANSACTION: (&str, &str) = ("transaction.timeout.ms", "10000");
/// A kill in a trial that ends after this comes in time, unless the machine is slow.
const TRIAL: Duration = Duration::from_secs(5);

/// When the host is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The component is on its way.
    Asked,
    /// A change is told of: the new version is opened, and the state copied.
    Copied,
    /// The new version is at work, and nothing of it has had an effect.
    Trial,
    /// The broker does not get the end of the transaction that is the change.
    Commit,
    /// The broker has it, and the host does not hear of it.
    Committed,
    /// The new version was adopted; where there are two workers, by one of them.
    Adopted,
    Any,
}

/// Each with so many workers: where a fault is for one transaction, there is one.
const ROUNDS: [(Moment, u32); 6] = [
    (Moment::Copied, 2),
    (Moment::Trial, 1),
    (Moment::Commit, 1),
    (Moment::Committed, 1),
    (Moment::Adopted, 2),
    (Moment::Any, 2),
];
const MORE_ROUNDS: [(Moment, u32); 5] =
    [(Moment::Asked, 1), (Moment::Asked, 2), (Moment::Copied, 1), (Moment::Adopted, 1), (Moment::Any, 1)];

#[test]
fn a_host_that_is_killed_in_a_swap_goes_on_with_one_version_or_the_other() {
    let mut chance = Chance::of("swap-kills");
    let proxy = Proxy::start();
    let broker = Broker::scratch_behind(Path::new(env!("CARGO_TARGET_TMPDIR")), proxy.port).expect("a broker");
    proxy.to(broker.behind_proxy().expect("a port behind the proxy"));
    let told = format!("127.0.0.1:{}", proxy.port);
    let stream = Stream::between(&broker.address(), &told, "swap-kills", &chance, Work::Stamp, 2);
    let mut stamped = Stamped::new(stream.with(|stream| {
        stream.pipeline.client = [&[TRANSACTION], &TIMEOUTS[1..]].concat();
        stream.input.groups = GROUPS;
    }));
    let feeder = stamped.stream.load();
    let mut rounds = chance.scale(ROUNDS.to_vec(), [&ROUNDS[..], &MORE_ROUNDS].concat().repeat(10));
    chance.shuffle(&mut rounds);
    let mut in_force = 0;
    for (moment, workers) in rounds {
        stamped.stream.pipeline.workers = workers;
        let host = stamped.stream.start();
        assert_eq!(goes_on(&mut stamped, moment), in_force, "the version of the round before");
        let adopted = kill_at(moment, host, &stamped, &proxy, &mut chance, 1 - in_force);
        let mut host = stamped.stream.start();
        let now = goes_on(&mut stamped, moment);
        println!("{moment:?}, {workers} workers: {} is in force", VERSIONS[now]);
        if let Some(adopted) = adopted {
            assert_eq!(now != in_force, adopted, "{moment:?}: {} is in force", VERSIONS[now]);
        }
        in_force = now;
        let before = stamped.stream.beyond(-1);
        stamped.stream.beyond(before);
        host.must_run();
        host.kill();
    }
    stamped.conclude(feeder.end());
}

/// Has the version at work swapped, and kills the host at that moment. Says whether the new version must be in force,
/// where that is certain.
fn kill_at(
    moment: Moment,
    victim: Host,
    stamped: &Stamped,
    proxy: &Proxy,
    chance: &mut Chance,
    next: usize,
) -> Option<bool> {
    let (path, name) = (&stamped.stream.path, stamped.name());
    let component = plugin(VERSIONS[next]);
    let trial: &[&str] = match moment {
        Moment::Asked | Moment::Copied | Moment::Trial => &["--trial", "1000000000", "--trial-time", "5s"],
        Moment::Commit | Moment::Committed => &["--trial", "1000000000", "--trial-time", "2s"],
        Moment::Adopted | Moment::Any => &["--trial", "50"],
    };
    let mut swap = host(path, &[&["swap", name, component.to_str().expect("UTF-8")], trial].concat());
    swap.stdout(Stdio::null()).stderr(Stdio::null());
    let mut swap = Running::start(swap);
    let began = Instant::now();
    let changing = || operator::line(path, name).pop().filter(|status| status.changing.is_some()).map(|_| ());
    let adopted = match moment {
        Moment::Asked => {
            chance.pass(Duration::from_millis(30));
            Some(false)
        }
        Moment::Copied => {
            wait_for("a change to be told of", changing);
            Some(false)
        }
        Moment::Trial => {
            wait_for("a change to be told of", changing);
            wait_for("the output to be held back", || held_back(&stamped.stream));
            Some(false)
        }
        Moment::Commit | Moment::Committed => {
            wait_for("a change to be told of", changing);
            wait_for("the output to be held back", || held_back(&stamped.stream));
            let hits = proxy.hits();
            let committed = moment == Moment::Committed;
            proxy.set(if committed { Fault::AnswerLost(Api::EndTxn) } else { Fault::RequestLost(Api::EndTxn) });
            wait_for("the end of the transaction", || (proxy.hits() > hits).then_some(()));
            Some(committed)
        }
        Moment::Adopted => {
            let status = wait_for("the swap to end", || swap.ended());
            assert!(status.success(), "a swap before a kill: {status}");
            Some(true)
        }
        Moment::Any => {
            chance.pass(Duration::from_millis(600));
            swap.ended().filter(|status| status.success()).map(|_| true)
        }
    };
    victim.kill();
    // On a slow machine the trial was over before, and what came of it is not known.
    let in_time = began.elapsed() < TRIAL || !matches!(moment, Moment::Asked | Moment::Copied | Moment::Trial);
    adopted.filter(|_| in_time)
}

/// Whether no commit comes, although messages do.
fn held_back(stream: &Stream) -> Option<()> {
    let before = stream.progress();
    pass(Duration::from_millis(400));
    (stream.progress() == before).then_some(())
}

/// Waits until both partitions are at work, each with the version that its checkpoint names, and until both have come
/// to the same one. Says which.
fn goes_on(stamped: &mut Stamped, moment: Moment) -> usize {
    let (path, name) = (stamped.stream.path.clone(), stamped.name().to_owned());
    let status = operator::status(&path, &name, 2);
    stamped.look();
    for task in &status.tasks {
        let Some(next) = task.next else { continue };
        let kept = wait_for("the checkpoint that is told of", || {
            let kept = stamped.kept_by(task.partition, next);
            stamped.look();
            (!kept.is_empty()).then_some(kept)
        });
        assert!(kept.contains(&task.plugins[0]), "{moment:?}: {task:?}, but its checkpoint has {kept:?}");
    }
    let version = wait_for("all partitions to run one version", || {
        let status = operator::status(&path, &name, 2);
        let latest = &status.plugins[0];
        let short = format!("{} {} ({})", latest.name, latest.version, &latest.hash[..8]);
        status.tasks.iter().all(|task| task.plugins[0] == short).then(|| latest.version.clone())
    });
    ["1.0.0", "1.0.1"].iter().position(|known| *known == version).expect("one of the two versions")
}
