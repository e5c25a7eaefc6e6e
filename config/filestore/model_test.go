package filestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/config"
)

// randomObject makes what is given of an object with this name.
func randomObject(r *rand.Rand, kind config.Kind, name string) map[string]any {
	o := map[string]any{"name": name}
	words := []string{"x", "true", "007", "a: b", "- c", "#d", "'e", "\"f\"", "{g", "ü ", "null", "~", "1e3", "2026-11-20", "*h", "&i", "!j", "%k", "@l", "long " + strings.Repeat("word ", 30)}
	word := func() string { return words[r.IntN(len(words))] }
	list := func() []string {
		out := []string{}
		for i := range 1 + r.IntN(3) {
			out = append(out, fmt.Sprint(word(), i))
		}
		return out
	}
	maybe := func(field string, value any) {
		if r.IntN(3) == 0 {
			o[field] = value
		}
	}
	switch kind {
	case config.KindSource:
		if r.IntN(2) == 0 {
			o["journald"] = map[string]any{"identifiers": list()}
		} else {
			o["file"] = map[string]any{"paths": []string{"/var/log/" + strings.Trim(word(), "{/"), "/b/*.log"}, "maxHeldFiles": r.IntN(100)}
		}
		maybe("minLevel", []string{"info", "error"}[r.IntN(2)])
		maybe("labels", map[string]string{"a": word(), "b": word()})
		maybe("enabled", r.IntN(2) == 0)
		maybe("nodes", []string{fmt.Sprint(strings.Trim(word(), "{"), 1), "n*"})
	case config.KindTarget:
		loki := map[string]any{"url": "https://x"}
		if r.IntN(2) == 0 {
			loki["basicAuth"] = map[string]any{"username": strings.ReplaceAll(word(), ":", "") + "u", "password": word()}
		}
		if r.IntN(2) == 0 {
			loki["labels"] = map[string]string{"c": word()}
			loki["streamLabels"] = []string{}
		}
		o["loki"] = loki
		maybe("queueBytes", "16MiB")
		maybe("spool", map[string]any{})
	case config.KindService:
		o["logFormat"] = []string{"json", "logfmt", "klog"}[r.IntN(3)]
	case config.KindFormat:
		o["regex"] = []string{`^(?P<message>.*)$`, `(?P<a>['"#: {}\[\]]+) # \\`, "(?P<b>\n x\n)"}[r.IntN(3)]
	case config.KindTLSBundle:
		delete(o, "name")
		o["name"] = name
	}
	return o
}

// styles are ways to write a file by hand: what is in it is edited below.
var styles = map[string]string{
	"blocks": `# begin
sources:
  # first
  - name: s1 # named
    journald:
      identifiers:
        # inner
        - x # one
        - y
    labels: {a: b} # labels

  # second
  - file:
      paths: [/x,
        /y]
    name: s2
    minLevel: "info"
targets:
- name: t1
  loki:
    url: https://x   # url
    basicAuth:
      username: u
      password: >-
        folded
        text
# end
`,
	"brackets": `sources: [{name: s1, journald: {}}, {name: s2, journald: {identifiers: [a, 'b']}}] # begin
# inner
targets: [ {name: t1, loki: {url: "https://x"}} ]
formats: []
`,
	"JSON":     "{\n \"sources\": [{\"name\": \"s1\", \"journald\": {}},\n {\"name\": \"s2\", \"journald\": {\"identifiers\": [\"a\"]}}],\n \"targets\": []\n}\n",
	"headings": "---\nsources:\n# nothing\ntargets:\nformats: # f\n",
	"anchors": `sources:
- &s1
  name: s1
  journald: &j {identifiers: [a]}
  labels: &l
    a: b
- <<: *s1
  name: s2
- {name: s3, journald: *j, labels: *l}
targets: []
`,
	"CRLF": "sources:\r\n- name: s1 # c\r\n  journald: {}\r\n\r\ntargets: []\r\n",
}

// TestModel makes random changes to files of all styles and to a map of objects:
// after each the file holds what the map does, and all its comments that are outside of what
// was changed. A change that the file's anchors do not allow changes nothing.
func TestModel(t *testing.T) {
	rounds := 15
	for style, text := range styles {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				model(t, style, text, rand.New(rand.NewPCG(seed, 7)), rounds)
			}
		})
	}
}

func model(t *testing.T, style, begin string, r *rand.Rand, rounds int) {
	s, ctx := opened(t, begin), context.Background()
	want := map[id]string{}
	for _, o := range objectsOf(t, []byte(begin)) {
		want[id{o.Kind, o.Name}] = string(o.Given)
	}
	refused := 0
	for range rounds {
		before := text(t, s)
		changes, after := randomChanges(t, r, want)
		_, err := s.Write(ctx, changes, root)
		if errors.Is(err, errShared) && style == "anchors" {
			if refused++; text(t, s) != before {
				t.Fatal("refused, and changed all the same")
			}
			continue
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, before)
		}
		untouched(t, before, text(t, s), want, changes)
		want = after
		got := map[id]string{}
		for _, o := range objectsOf(t, []byte(text(t, s))) {
			got[id{o.Kind, o.Name}] = string(o.Given)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\n%s\nbecame\n%s", diff, before, text(t, s))
		}
	}
	if refused == rounds {
		t.Error("nothing could be changed")
	}
	now := text(t, s)
	for _, comment := range []string{"# begin", "# end", "# nothing"} {
		if strings.Count(begin, comment) != strings.Count(now, comment) {
			t.Errorf("%s is gone\n%s", comment, now)
		}
	}
	if style == "JSON" && !json.Valid([]byte(now)) {
		t.Errorf("no JSON any more\n%s", now)
	}
	if style == "CRLF" && strings.Count(now, "\n") != strings.Count(now, "\r\n") {
		t.Errorf("line breaks of two kinds\n%q", now)
	}
}

// untouched demands that the text of objects that were not changed is what it was, byte for byte.
func untouched(t *testing.T, before, now string, objects map[id]string, changes []config.Change) {
	t.Helper()
	changed := map[id]bool{}
	for _, c := range changes {
		changed[id{c.Kind, c.Name}] = true
	}
	was, err := newEditor([]byte(before))
	must(t, err)
	is, err := newEditor([]byte(now))
	must(t, err)
	for k := range objects {
		if !changed[k] && textOf(was, k) != textOf(is, k) {
			t.Fatalf("%s %s was %q and is %q\n%s", k.kind, k.name, textOf(was, k), textOf(is, k), now)
		}
	}
}

// textOf returns how an object is written.
func textOf(e *editor, k id) string {
	list := e.field(e.root, k.kind.List())
	for i, item := range list.Content {
		name := e.field(item, "name")
		if name == nil || name.Value != k.name {
			continue
		}
		if list.Style&yaml.FlowStyle != 0 {
			end, _ := e.itemEnd(item)
			return string(e.text[e.offset(item):end])
		}
		first := e.dashLine(list, i)
		return string(e.text[e.lineStart(first):e.lineEnd(e.lastLine(first, e.itemLimit(list, i), list.Column-1))])
	}
	return "?"
}

// randomChanges makes up to three changes, and what is there after them.
func randomChanges(t *testing.T, r *rand.Rand, have map[id]string) (changes []config.Change, after map[id]string) {
	after = map[id]string{}
	for k, given := range have {
		after[k] = given
	}
	touched := map[id]bool{}
	for range 1 + r.IntN(3) {
		kind := config.Kinds()[1+r.IntN(4)]
		k := id{kind, fmt.Sprintf("%c%d", kind[0], 1+r.IntN(4))}
		if touched[k] {
			continue
		}
		touched[k] = true
		if _, there := after[k]; there && r.IntN(3) == 0 {
			changes = append(changes, config.Change{Kind: k.kind, Name: k.name})
			delete(after, k)
			continue
		}
		given, err := json.Marshal(randomObject(r, k.kind, k.name))
		must(t, err)
		d, err := config.Decode(k.kind, "random", given)
		if err != nil {
			t.Fatalf("%v: %s", err, given)
		}
		changes = append(changes, config.Change{Kind: k.kind, Name: k.name, Draft: &d})
		after[k] = string(d.Given)
	}
	return changes, after
}

// FuzzEdit edits files that anybody may have written: either nothing happens, or
// the file holds what it is to hold.
func FuzzEdit(f *testing.F) {
	for _, text := range styles {
		f.Add([]byte(text), uint64(1))
	}
	for _, name := range []string{"everything", "journald-to-loki", "files-to-rsyslog-mtls"} {
		text, err := os.ReadFile("../../docs/examples/" + name + ".yaml")
		must(f, err)
		f.Add(text, uint64(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		objects, err := config.ParseObjects("", text)
		if err != nil {
			return
		}
		have := map[id]string{}
		for _, o := range objects {
			if o.Err != nil {
				return
			}
			have[id{o.Kind, o.Name}] = string(o.Given)
		}
		changes, want := randomChanges(t, rand.New(rand.NewPCG(seed, 3)), have)
		after, effective, _, err := config.Plan(objects, changes)
		if err != nil {
			return
		}
		out, err := edit(text, objects, after, effective)
		if err != nil {
			return
		}
		got := map[id]string{}
		for _, o := range objectsOf(t, out) {
			got[id{o.Kind, o.Name}] = string(o.Given)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\n%q\n%q", diff, text, out)
		}
	})
}
