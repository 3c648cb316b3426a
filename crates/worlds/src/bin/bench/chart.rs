//! The fleet's chart: scans in all, time and processor time of a start, by the number of
//! containers, as SVG.

use super::fleet::{Phase, Start, System};
use super::middle;

const WIDTH: f64 = 1120.0;
const HEIGHT: f64 = 380.0;
const PANEL: f64 = 280.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 310.0;
/// Where the diagrams begin.
const LEFTS: [f64; 3] = [80.0, 450.0, 820.0];
/// So many starts before and after one are looked at for its middle value.
const NEIGHBOURS: usize = 4;
const STYLE: &str = ".t{font-size:14px;font-weight:bold}.m{font-size:11px;text-anchor:middle}\
.e{font-size:11px;text-anchor:end}.l{font-size:12px}.a{stroke:#333;fill:none}.g{stroke:#ddd}";

/// Where one of the diagrams is, and what its axes hold. Both axes are logarithmic.
struct Panel {
    left: f64,
    x_max: f64,
    y_min: f64,
    y_max: f64,
}

impl Panel {
    /// One whose axes hold all of these points.
    fn of(left: f64, lines: &[Vec<(f64, f64)>]) -> Self {
        let all = || lines.iter().flatten().filter(|point| point.1 > 0.0);
        let y_min = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let y_max = all().map(|point| point.1).fold(1.0, f64::max);
        Self {
            left,
            x_max: all().map(|point| point.0).fold(10.0, f64::max),
            y_min: 10_f64.powf(y_min.min(y_max).log10().floor()),
            y_max: 10_f64.powf(y_max.log10().ceil()),
        }
    }

    fn x(&self, value: f64) -> f64 {
        self.left + PANEL * value.max(1.0).log10() / self.x_max.log10()
    }

    fn y(&self, value: f64) -> f64 {
        let decades = (self.y_max / self.y_min).log10().max(1.0);
        BOTTOM - (BOTTOM - TOP) * (value.max(self.y_min) / self.y_min).log10() / decades
    }

    fn axes(&self, title: &str) -> String {
        let left = self.left;
        let mut out = format!(
            "<text x='{left}' y='40' class='t'>{title}</text>\
             <path class='a' d='M{left} {TOP} V{BOTTOM} h{PANEL}'/>\n"
        );
        let mut x = 1.0;
        while x <= self.x_max {
            let at = self.x(x);
            out += &format!("<text x='{at:.1}' y='328' class='m'>{x}</text>\n");
            x *= 10.0;
        }
        let mut y = self.y_min;
        while y <= self.y_max * 1.01 {
            let (at, text, end) = (self.y(y), self.y(y) + 4.0, left - 6.0);
            out += &format!("<path class='g' d='M{left} {at:.1} h{PANEL}'/>");
            out += &format!("<text x='{end}' y='{text:.1}' class='e'>{y}</text>\n");
            y *= 10.0;
        }
        out
    }

    fn line(&self, colour: &str, points: &[(f64, f64)]) -> String {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        let points = points.join(" ");
        format!("<polyline fill='none' stroke='{colour}' stroke-width='2' points='{points}'/>\n")
    }
}

fn colour(system: System) -> &'static str {
    match system {
        System::Siloscan => "#1b7837",
        System::NoOptimisation => "#b2182b",
        System::PerVolume => "#2166ac",
    }
}

/// Each cold start's value, as the middle one among its neighbours; the first start is its own.
fn smooth(starts: &[&Start], value: fn(&Start) -> f64) -> Vec<(f64, f64)> {
    let around = |at: usize| {
        if at == 0 {
            return 0..1;
        }
        at.saturating_sub(NEIGHBOURS).max(1)..(at + NEIGHBOURS + 1).min(starts.len())
    };
    let point = |(at, start): (usize, &&Start)| {
        let near = starts.get(around(at)).unwrap_or_default();
        let values: Vec<f64> = near.iter().map(|start| value(start)).collect();
        (start.containers as f64, middle(&values).0)
    };
    starts.iter().enumerate().map(point).collect()
}

/// The chart of all cold starts.
pub fn render(starts: &[Start], files: usize) -> String {
    let systems = [System::Siloscan, System::NoOptimisation, System::PerVolume];
    let mut lines: [Vec<Vec<(f64, f64)>>; 3] = Default::default();
    for system in systems {
        let cold: Vec<&Start> = starts
            .iter()
            .filter(|start| start.system == system && start.phase == Phase::Cold)
            .collect();
        let mut sum = 0;
        let scans = cold.iter().map(|start| {
            sum += start.scans;
            (start.containers as f64, sum as f64)
        });
        lines[0].push(scans.collect());
        lines[1].push(smooth(&cold, |start| start.ms));
        lines[2].push(smooth(&cold, |start| start.cpu_ms));
    }
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' \
         font-family='sans-serif'>\n<style>{STYLE}</style>\n\
         <rect width='100%' height='100%' fill='white'/>\n"
    );
    let titles = [
        format!("Scans in all ({files} files a start)"),
        "Milliseconds a start".to_owned(),
        "CPU milliseconds a start".to_owned(),
    ];
    for ((left, title), lines) in LEFTS.into_iter().zip(titles).zip(&lines) {
        let panel = Panel::of(left, lines);
        out += &panel.axes(&title);
        for (system, points) in systems.into_iter().zip(lines) {
            out += &panel.line(colour(system), points);
        }
    }
    for (at, system) in systems.into_iter().enumerate() {
        let (x, text) = (80.0 + 220.0 * at as f64, 110.0 + 220.0 * at as f64);
        let (colour, name) = (colour(system), system.name());
        out += &format!(
            "<path stroke='{colour}' stroke-width='3' d='M{x} 358 h24'/>\
             <text x='{text}' y='362' class='l'>{name}</text>\n"
        );
    }
    out + "<text x='820' y='362' class='l'>by containers on the host; cold starts</text>\n</svg>\n"
}
