//! The real program's memory through a burst of everything at once.

use std::fs;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{crowd, is_served, parts};
use crate::support::cip::CipClient;
use crate::support::eventually;
use crate::support::relay::Process;
use crate::support::smtp::SmtpClient;

/// How much the resident memory may have grown at its highest: the limit over all mail sessions and the one over all
/// CIP sessions are 256 MiB each, so this burst has to stay well below both.
const PEAK: u64 = 400 << 20;
/// And afterwards: what the allocator keeps.
const AFTER: u64 = 150 << 20;

/// `VmRSS` or `VmHWM` of a process, in octets.
fn memory(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(what)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_leaves_the_memory_bounded() {
    let (settings, sink, _dns) = parts().await;
    let mut relay = Process::start(settings.set("log.level", "info")).await;
    is_served(&mut relay.cip().await, "before@jumbo.com").await;
    sink.wait_for(1).await;
    let before = memory(relay.pid(), "VmRSS");

    let eleven = format!("SENDEVENT+\r\n{}.\r\n", format!("X:{}\r\n", "x".repeat(1020)).repeat(11 << 10));
    let many_lines = format!("SENDEVENT+\r\n{}.\r\n", "A:\r\n".repeat(100_000));
    let crowd = crowd("crowd@jumbo.com", "tom@jumbo.com", 10_000);
    let burst = Arc::new((eleven, many_lines, crowd));
    let (cip, smtp, inbound) = (relay.cip_address(), relay.smtp_address(), relay.inbound_address());
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let burst = burst.clone();
        clients.spawn(async move {
            let (eleven, many_lines, crowd) = &*burst;
            let mut client = CipClient::connect(cip).await;
            for octets in [eleven, many_lines] {
                client.send(octets).await;
                assert_eq!(client.answer().await.code(), "NO 001");
            }
            let answer = client.object("SENDEVENT", crowd).await;
            assert_eq!(answer.infos.len(), 10_000, "{}", answer.completion);
            let mut half_mail = SmtpClient::connect(smtp).await;
            for (command, code) in
                [("EHLO x.test", 250), ("MAIL FROM:<tom@jumbo.com>", 250), ("RCPT TO:<mary@tiny.com>", 250), ("DATA", 354)]
            {
                assert_eq!(half_mail.command(command).await.code, code);
            }
            half_mail.send(format!("{}\r\n", "x".repeat(998)).repeat(9 << 10)).await;
            let mut half_event = CipClient::connect(cip).await;
            half_event.send(format!("SENDEVENT+\r\n{}", format!("X:{}\r\n", "x".repeat(1020)).repeat(9 << 10))).await;
            let mut other = SmtpClient::connect(inbound).await;
            assert_eq!(other.command("EHLO client.test").await.code, 250);
            let bomb = "Content-Type: message/rfc822\r\n\r\n".repeat(50_000);
            let reply = other.mail("eve@stranger.example", &["mary@tiny.com"], bomb.as_bytes()).await;
            assert_eq!(reply.code, 250, "{reply:?}");
            (half_mail, half_event)
        });
    }
    is_served(&mut relay.cip().await, "meanwhile@jumbo.com").await;
    let open = clients.join_all().await;
    let peak = memory(relay.pid(), "VmHWM");
    assert!(peak < before + PEAK, "{} MiB before, {} MiB at the highest", before >> 20, peak >> 20);
    drop(open);
    is_served(&mut relay.cip().await, "after@jumbo.com").await;
    relay.queue_empty().await;
    eventually(&format!("memory within {} MiB of the {} MiB before", AFTER >> 20, before >> 20), || async {
        (memory(relay.pid(), "VmRSS") < before + AFTER).then_some(())
    })
    .await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}
