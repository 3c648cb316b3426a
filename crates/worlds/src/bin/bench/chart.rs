//! The fleet's chart: scans in all and time of a start, by the number of containers, as SVG.

use super::fleet::{Phase, Start, System};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
const PANEL: f64 = 330.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 320.0;

/// Where one of the two diagrams is, and what its axes hold. Both axes are logarithmic.
struct Panel {
    left: f64,
    x_max: f64,
    y_min: f64,
    y_max: f64,
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        self.left + PANEL * value.max(1.0).log10() / self.x_max.log10().max(1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let part = (value.max(self.y_min) / self.y_min).log10() / (self.y_max / self.y_min).log10();
        BOTTOM - (BOTTOM - TOP) * part
    }

    fn axes(&self, title: &str) -> String {
        let mut out = format!(
            "<text x='{}' y='40' class='t'>{title}</text><path class='a' d='M{} {TOP} V{BOTTOM} H{}'/>\n",
            self.left,
            self.left,
            self.left + PANEL
        );
        let mut x = 1.0;
        while x <= self.x_max {
            out += &format!("<text x='{}' y='338' class='m'>{x}</text>\n", self.x(x));
            x *= 10.0;
        }
        let mut y = self.y_min;
        while y <= self.y_max * 1.01 {
            let at = self.y(y);
            out += &format!(
                "<path class='g' d='M{} {at:.1} h{PANEL}'/><text x='{}' y='{:.1}' class='e'>{y}</text>\n",
                self.left,
                self.left - 6.0,
                at + 4.0
            );
            y *= 10.0;
        }
        out
    }

    fn line(&self, colour: &str, points: &[(f64, f64)]) -> String {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        format!(
            "<polyline fill='none' stroke='{colour}' stroke-width='2' points='{}'/>\n",
            points.join(" ")
        )
    }
}

fn colour(system: System) -> &'static str {
    match system {
        System::Siloscan => "#1b7837",
        System::NoOptimisation => "#b2182b",
        System::PerVolume => "#2166ac",
    }
}

/// The chart of all cold starts.
pub fn render(starts: &[Start], files: usize) -> String {
    let cold = |system| {
        starts
            .iter()
            .filter(move |s| s.system == system && s.phase == Phase::Cold)
    };
    let most = starts.iter().map(|s| s.containers).max().unwrap_or(1) as f64;
    let scans = Panel {
        left: 70.0,
        x_max: most,
        y_min: 1000.0,
        y_max: 1e7,
    };
    let time = Panel {
        left: 500.0,
        x_max: most,
        y_min: 10.0,
        y_max: 1e6,
    };
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' font-family='sans-serif'>\n<style>.t{{font-size:14px;font-weight:bold}}.m{{font-size:11px;text-anchor:middle}}.e{{font-size:11px;text-anchor:end}}.l{{font-size:12px}}.a{{stroke:#333;fill:none}}.g{{stroke:#ddd}}</style>\n<rect width='100%' height='100%' fill='white'/>\n"
    );
    out += &scans.axes(&format!("Scans in all ({files} package files a start)"));
    out += &time.axes("Milliseconds a start (filter host)");
    let systems = [System::Siloscan, System::NoOptimisation, System::PerVolume];
    for (at, system) in systems.into_iter().enumerate() {
        let mut sum = 0;
        let all: Vec<(f64, f64)> = cold(system)
            .map(|s| {
                sum += s.scans;
                (s.containers as f64, sum as f64)
            })
            .collect();
        let each: Vec<(f64, f64)> = cold(system).map(|s| (s.containers as f64, s.ms)).collect();
        out += &scans.line(colour(system), &all);
        out += &time.line(colour(system), &each);
        let x = 70.0 + 220.0 * at as f64;
        out += &format!(
            "<path stroke='{}' stroke-width='3' d='M{x} 362 h24'/><text x='{}' y='366' class='l'>{}</text>\n",
            colour(system),
            x + 30.0,
            system.name()
        );
    }
    out + "<text x='730' y='366' class='l'>containers →</text>\n</svg>\n"
}
