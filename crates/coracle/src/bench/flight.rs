//! Requests of an ordinary client in flight: how long each took, and what they cost the server.

use std::time::Duration;

use coracle_clock::Clock;
use futures::{StreamExt, TryStreamExt};

use super::client::Api;
use super::report::{Measured, micros};
use super::samples::Latencies;
use super::target::Target;

/// As many as the reference was measured with.
pub(crate) const IN_FLIGHT: usize = 32;
const CONNECTIONS: usize = 4;

/// Connections to one server.
pub(crate) struct Load<'a> {
    target: &'a Target,
    clock: &'a Clock,
    connections: Vec<Api>,
}

/// What so many operations took.
pub(crate) struct Taken {
    /// Of the server.
    pub(crate) cpu: Option<Duration>,
    pub(crate) wall: Duration,
    pub(crate) each: Vec<Duration>,
}

impl<'a> Load<'a> {
    pub(crate) async fn new(target: &'a Target) -> anyhow::Result<Load<'a>> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(target.access.connect().await?);
        }
        Ok(Load { target, clock: &target.clock, connections })
    }

    pub(crate) fn connection(&self, number: usize) -> &Api {
        &self.connections[number % CONNECTIONS]
    }

    /// `n` operations, so many of them at a time.
    pub(crate) async fn run<F>(
        &self,
        n: usize,
        in_flight: usize,
        operation: impl Fn(Api, usize) -> F,
    ) -> anyhow::Result<Taken>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let (cpu, began) = (self.target.cpu()?, self.clock.elapsed());
        let calls = (0..n).map(|i| {
            let call = operation(self.connection(i).clone(), i);
            async {
                let began = self.clock.elapsed();
                call.await?;
                anyhow::Ok(self.clock.elapsed() - began)
            }
        });
        let each = futures::stream::iter(calls).buffer_unordered(in_flight).try_collect().await?;
        let cpu = self.target.cpu()?.zip(cpu).map(|(after, before)| after.saturating_sub(before));
        Ok(Taken { cpu, wall: self.clock.elapsed() - began, each })
    }
}

impl Taken {
    /// The CPU time of one is the figure.
    pub(crate) fn measured(&self, target: &Target) -> anyhow::Result<Measured> {
        let n = self.each.len() as f64;
        Ok(Measured {
            figure: self.cpu.map(|cpu| micros(cpu) / n),
            per_second: Some(n / self.wall.as_secs_f64()),
            latencies: Latencies::of(self.each.clone()),
            memory_mib: target.memory_mib()?,
            ..Measured::default()
        })
    }
}
