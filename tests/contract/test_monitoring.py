"""test_monitoring.py -- Prometheus' alerts and Grafana's dashboard ask for what the daemon serves.
Needs promtool (build/tools/promtool, which ./run.sh test fetches); no server."""
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGING = os.path.join(SOURCE, "packaging")
PROMTOOL = shutil.which("promtool") or os.path.join(SOURCE, "build", "tools", "promtool")
SUFFIXES = {"HISTOGRAM": ("_bucket", "_sum", "_count"), "COUNTER": ("",), "GAUGE": ("",)}


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def run(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def served():
    """{name of a series: its labels} of daemon/metric_rows.h."""
    rows = re.findall(r'^METRIC\(\s*(\w+),\s*(\w+),\s*\w+,\s*"([^"]*)"', read(SOURCE, "daemon", "metric_rows.h"), re.M)
    return {f"pinrouted_{name}{suffix}": set(labels.split(",")) - {""} | {"instance", "job"} | ({"le"} if suffix == "_bucket" else set())
            for name, kind, labels in rows for suffix in SUFFIXES[kind]}


def unquoted(expression):
    """Without strings and what stands between {{ and }}: there, a word is no metric."""
    return re.sub(r'"[^"]*"', '""', expression)


def panels():
    return json.loads(read(PACKAGING, "grafana", "pinroute.json"))["panels"]


def dashboard_expressions():
    board = json.loads(read(PACKAGING, "grafana", "pinroute.json"))
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    asked += [annotation["expr"] for annotation in board["annotations"]["list"] if "expr" in annotation]
    return [expression.replace("$__rate_interval", "1m") for expression in asked]


def window(text):
    """Seconds of a range: 5m, 90s."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def samples(notation):
    """What promtool makes of `1+0x3 _ 5-1x2`: a list of words."""
    found = []
    for word in notation.split():
        steps = re.fullmatch(r"(-?\d+)([+-]\d+)x(\d+)", word)
        found += [str(int(steps[1]) + n * int(steps[2])) for n in range(int(steps[3]) + 1)] if steps else [word]
    return found


def scraped_every(seconds, text, evaluated):
    """The unit tests, whose series have a sample each 15 s, as Prometheus sees them with another scrape_interval."""
    text = re.sub(r"interval: 15s", f"interval: {seconds}s", text)
    text = re.sub(r"evaluation_interval: \d+s", f"evaluation_interval: {evaluated}s", text)
    text = re.sub(r"values: '([^']*)'", lambda m: f"values: '{' '.join(samples(m[1])[::seconds // 15])}'", text)
    return text.replace("- pinroute-alerts.yml", "- " + Rules.FILE)


def rules():
    """{name: expression} of the alerts and recorded rates."""
    text = read(PACKAGING, "prometheus", "pinroute-alerts.yml")
    found = re.findall(r"^      - (alert|record): (\S+)\n        expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", text, re.M)
    return {name: block or line for _, name, block, line in found}


class Rules(unittest.TestCase):
    FILE = os.path.join(PACKAGING, "prometheus", "pinroute-alerts.yml")
    TEST = os.path.join(PACKAGING, "prometheus", "pinroute-alerts.test.yml")

    def test_promtool_finds_nothing_wrong_with_them(self):
        self.assertRegex(run(PROMTOOL, "check", "rules", "--lint=all", "--lint-fatal", self.FILE), f"SUCCESS: {len(rules())} rules found")

    def test_each_does_what_its_unit_test_says(self):
        self.assertIn("SUCCESS", run(PROMTOOL, "test", "rules", self.TEST))

    def test_each_does_so_at_any_scrape_interval_from_15_s_to_1_m(self):
        text = read(self.TEST)
        self.assertEqual(set(re.findall(r"interval: (\w+)", text)), {"15s"})
        for seconds, evaluated in ((30, 13), (60, 13), (60, 60)):   # 13: never at the same time as a scrape
            with self.subTest(scrape_interval=seconds, evaluation_interval=evaluated), tempfile.TemporaryDirectory() as place:
                path = os.path.join(place, "alerts.test.yml")
                with open(path, "w", encoding="ascii") as f:
                    f.write(scraped_every(seconds, text, evaluated))
                self.assertIn("SUCCESS", run(PROMTOOL, "test", "rules", path))

    def test_none_looks_back_so_little_that_a_scrape_interval_of_1_m_leaves_it_one_sample(self):
        ranges = {name: re.findall(r"\[(\w+)(?::\w+)?\]", rule) for name, rule in rules().items()}
        self.assertEqual([name for name, found in ranges.items() if any(window(r) < 300 for r in found)], [])
        self.assertGreater(sum(map(len, ranges.values())), 20)

    def test_the_manual_has_a_scrape_job_that_they_are_right_for(self):
        page = read(PACKAGING, "man", "pinrouted.8.scd.in")
        job = re.search(r"^scrape_configs:\n(.*?)^```", page, re.M | re.S)[1]
        self.assertIn("job_name: pinroute\n", job)
        self.assertIn(window(re.search(r"scrape_interval: (\w+)", job)[1]), range(15, 61))
        far = [address for address in re.findall(r"'([\d.]+):\d+'", job) if not address.startswith("127.")]
        self.assertTrue(not far or f"http_remote = allow* beside *http_listen = {far[0]}:" in page, far)

    def test_none_waits_for_less_than_a_second_sample(self):
        waits = re.findall(r"^        for: (\w+)$", read(self.FILE), re.M)
        self.assertEqual([wait for wait in waits if window(wait) < 90], [])

    def test_their_names_begin_alike(self):
        self.assertEqual([name for name in rules() if not re.match("Pinroute[A-Z]|instance_", name)], [])

    def test_each_alert_fires_in_one_unit_test_and_is_silent_in_another(self):
        tests = re.split(r"^  - name: ", read(self.TEST), flags=re.M)[1:]
        for alert in (name for name in rules() if name.startswith("Pin")):
            fires = [text for text in tests if f'alertname="{alert}"' in text]
            self.assertEqual(len(fires), 1, alert)
            quiet = [text for text in tests if 'instance="good"' in text and f'alertname="{alert}", instance="good"' not in text]
            self.assertGreater(len(quiet), 0, alert)

    def test_each_alert_says_how_grave_it_is_and_what_to_do_first(self):
        text = read(self.FILE)
        alerts = re.split(r"^      - alert: ", text, flags=re.M)[1:]
        self.assertGreater(len(alerts), 20)
        for alert in alerts:
            self.assertRegex(alert, r"severity: (critical|warning|info)\n")
            self.assertRegex(alert, r'summary: ".+"\n +description: ".+ First: .+"')

    def test_what_a_description_calls_pinroutectl_has(self):
        commands = re.findall(r"^ +X\((\w+), ", read(SOURCE, "client", "ctl_commands.h"), re.M)
        used = set(re.findall(r"`pinroutectl (\w+)", read(self.FILE)))
        self.assertGreater(len(used), 3)
        self.assertEqual([word for word in sorted(used) if word not in commands], [])


class Dashboard(unittest.TestCase):
    def test_each_panel_has_a_number_a_title_and_a_question_of_its_own(self):
        numbers = [panel["id"] for panel in panels()]
        self.assertEqual(len(numbers), len(set(numbers)))
        self.assertEqual([panel["id"] for panel in panels() if not panel["title"]], [])
        self.assertEqual([panel["title"] for panel in panels() if panel["type"] != "row" and not panel["targets"]], [])

    def test_panels_stand_beside_each_other_on_24_columns(self):
        taken = {}
        for panel in panels():
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
                self.assertNotIn(cell, taken, f"{panel['title']} covers {taken.get(cell)}")
                taken[cell] = panel["title"]

    def test_it_asks_whatever_prometheus_clusters_and_hosts_are_chosen(self):
        text = read(PACKAGING, "grafana", "pinroute.json")
        self.assertEqual(set(re.findall(r'"uid": "([^"]+)"', text)), {"${datasource}", "-- Grafana --", "pinroute"})
        names = [variable["name"] for variable in json.loads(text)["templating"]["list"]]
        self.assertEqual(names, ["datasource", "instance", "cluster"])
        self.assertEqual([e for e in dashboard_expressions() if "$instance" not in e], [])

    def test_none_looks_back_less_than_five_minutes_or_grafanas_choice(self):
        text = read(PACKAGING, "grafana", "pinroute.json")
        ranges = set(re.findall(r"\[([\w$]+)\]", " ".join(re.findall(r'"expr": "(.*)"', text)))) - {"$__rate_interval"}
        self.assertEqual([r for r in sorted(ranges) if window(r) < 300], [])

    def test_replicas_are_out_that_are_down_or_taken_out_by_an_operator(self):
        asked = [panel["targets"][0]["expr"] for panel in panels() if panel["title"] == "Replicas out"]
        nodes = {"up": ("UP", "replica"), "dead": ("DOWN", "replica"), "new": ("UNKNOWN", "replica"),
                 "drained": ("drain", "replica"), "mended": ("maint", "replica"), "default": ("UP", "primary"), "last": ("DOWN", "primary")}
        series = [{"series": f'pinrouted_node_state{{instance="a", cluster="main", node="{node}", state="{state}"}}', "values": f"{int(state == at)}x1"}
                  for node, (at, _) in nodes.items() for state in ("UP", "DOWN", "UNKNOWN", "drain", "maint")]
        series += [{"series": f'pinrouted_node_up{{instance="a", cluster="main", node="{node}", role="{role}"}}', "values": f"{int(at in ('UP', 'drain'))}x1"}
                   for node, (at, role) in nodes.items()]
        expect = [{"expr": re.sub(r"\$(instance|cluster)", ".+", asked[0]), "eval_time": "0s", "exp_samples": [{"labels": "{}", "value": 4}]}]
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "out.test.yml")
            with open(path, "w", encoding="ascii") as f:
                json.dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": expect}]}, f)
            self.assertIn("SUCCESS", run(PROMTOOL, "test", "rules", path))

    def test_prometheus_can_read_each_question(self):
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "asked.yml")
            asked = [{"record": f"asked:{n}", "expr": expression} for n, expression in enumerate(dashboard_expressions())]
            with open(path, "w", encoding="ascii") as f:
                json.dump({"groups": [{"name": "dashboard", "rules": asked}]}, f)   # JSON is YAML
            self.assertIn(f"SUCCESS: {len(asked)} rules found", run(PROMTOOL, "check", "rules", path))


class Metrics(unittest.TestCase):
    def test_no_question_is_for_a_series_or_label_that_the_daemon_does_not_serve(self):
        series, bad = served(), []
        for expression in [*rules().values(), *dashboard_expressions()]:
            bad += [name for name in re.findall(r"\bpinrouted_\w+", unquoted(expression)) if name not in series]
            for name, matchers in re.findall(r"\b(pinrouted_\w+)\{((?:[^{}\"]|\"[^\"]*\")*)\}", expression):
                labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers)))
                bad += [f"{name}{{{label}}}" for label in labels - series.get(name, labels)]
        self.assertEqual(bad, [])

    def test_the_variables_of_the_dashboard_are_asked_of_series_that_exist(self):
        asked = re.findall(r"label_values\((\w+)", read(PACKAGING, "grafana", "pinroute.json"))
        self.assertTrue(asked)
        self.assertEqual([name for name in asked if name not in served()], [])

    def test_every_metric_that_the_daemon_serves_is_shown_or_watched(self):
        asked = " ".join([*rules().values(), *dashboard_expressions()])
        unasked = {re.sub("_(bucket|sum|count)$", "", name) for name in served() if re.search(rf"\b{name}\b", asked)}
        every = {re.sub("_(bucket|sum|count)$", "", name) for name in served()}
        self.assertEqual(sorted(every - unasked), [])


if __name__ == "__main__":
    if not os.access(PROMTOOL, os.X_OK):
        raise SystemExit(f"no promtool in {PROMTOOL}: ./run.sh test fetches it")
    unittest.main()
