package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// given returns what is stored of an object, secrets in clear.
func (g *rig) given(kind config.Kind, name string) string {
	g.t.Helper()
	all, err := g.store.List(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, s := range all {
		if s.Kind == kind && s.Name == name {
			return string(s.Given)
		}
	}
	g.t.Fatalf("%s %s is not stored", kind, name)
	return ""
}

func (g *rig) wantGiven(kind config.Kind, name, want string) {
	g.t.Helper()
	var a, b any
	have := g.given(kind, name)
	if err := json.Unmarshal([]byte(have), &a); err != nil {
		g.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		g.t.Fatal(err)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if string(x) != string(y) {
		g.t.Errorf("stored is %s, want %s", x, y)
	}
}

// certificate makes files of a CA, a certificate and its key.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir, authority := t.TempDir(), testbed.NewCA(t, "Test CA")
	cert, key = authority.Client(t, "node1").Files(t, dir, "node")
	return authority.File(t, dir, "ca"), cert, key
}

func TestCreate(t *testing.T) {
	g := newRig(t)
	if out := g.must("create", "source", "app", "--file-paths", "/var/log/{a,b}.log,/var/log/c.log", "--file-path", "/x\\,y", "--log-format", "json",
		"--min-level", "info", "--label", "role=node", "--label", "eq=a=b", "--file-max-held-files", "7", "--enabled=false"); out != "source/app created\n" {
		t.Error(out)
	}
	g.wantGiven(config.KindSource, "app", `{"name":"app","enabled":false,"file":{"paths":["/var/log/{a,b}.log","/var/log/c.log","/x,y"],"maxHeldFiles":7},
		"logFormat":"json","minLevel":"info","labels":{"role":"node","eq":"a=b"}}`)
	g.must("create", "sources", "journal", "--journald", "--node-selector", "rack=7")
	g.wantGiven(config.KindSource, "journal", `{"name":"journal","journald":{},"nodeSelector":{"rack":"7"}}`)

	password := file(t, "password", "hunter2\n")
	g.must("create", "target", "loki", "--loki-url", "http://localhost:3100", "--loki-basic-auth-username", "me", "--loki-basic-auth-password", "@"+password, "--spool")
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100","basicAuth":{"username":"me","password":"hunter2"}},"spool":{}}`)
	if r := g.runWith("s3cret\n", "create", "target", "bearer", "--loki-url", "http://localhost:3100", "--loki-bearer-token", "-"); r.code != 0 || strings.Contains(r.err, "@FILE") || strings.Count(r.err, "bearer") != 1 {
		t.Errorf("%+v", r)
	}
	g.wantGiven(config.KindTarget, "bearer", `{"name":"bearer","loki":{"url":"http://localhost:3100","bearerToken":"s3cret"}}`)
	if r := g.run("create", "target", "clear", "--loki-url", "http://localhost:3100", "--loki-bearer-token", "s3cret"); r.code != 0 || !strings.Contains(r.err, "give @FILE") || strings.Contains(r.err+r.out, "s3cret") {
		t.Errorf("%+v", r)
	}

	ca, cert, key := certificate(t)
	g.must("create", "tls-bundle", "siem", "--ca", ca, "--cert", cert, "--key", key)
	if given := g.given(config.KindTLSBundle, "siem"); strings.Count(given, "-----BEGIN") != 3 {
		t.Error(given)
	}
	for _, form := range []string{"json", "yaml", "table", "wide"} {
		if out := g.must("get", "tls-bundle", "siem", "-o", form); strings.Contains(out, "PRIVATE") || strings.Contains(out, "keyPem:") {
			t.Errorf("%s: a private key is shown: %s", form, out)
		}
		if out := g.must("get", "targets", "-o", form); strings.Contains(out, "hunter2") || strings.Contains(out, "s3cret") {
			t.Errorf("%s: a secret is shown: %s", form, out)
		}
	}
	g.must("create", "tls-bundle", "paths", "--ca-path", ca)
	g.wantGiven(config.KindTLSBundle, "paths", `{"name":"paths","caFile":"`+ca+`"}`)
	g.must("create", "format", "f", "--regex", `^(?P<message>.*)$`)
	g.must("create", "service", "s", "--log-format", "logfmt")

	// Nothing is done by a dry run, and -o shows what would be.
	if out := g.must("create", "service", "dry", "--log-format", "json", "--dry-run"); out != "service/dry created (dry run: nothing was changed)\n" {
		t.Error(out)
	}
	if out := g.must("create", "service", "dry", "--log-format", "json", "-o", "json"); out != "{\n  \"name\": \"dry\",\n  \"logFormat\": \"json\"\n}\n" {
		t.Error(out)
	}

	g.fails(1, []string{"app", "lbshipd update source app"}, "create", "source", "app", "--journald")
	g.fails(1, []string{"rsyslog.protocol (--rsyslog-protocol)"}, "create", "target", "x", "--rsyslog-address", "h:1", "--rsyslog-protocol", "tpc")
	g.fails(1, []string{"2 things are wrong:", "minLevel (--min-level)", "logFormat (--log-format)"}, "create", "source", "x", "--journald", "--min-level", "loud", "--log-format", "jsn")
	g.fails(2, []string{"cannot be the name of a source"}, "create", "source", "../x", "--journald")
	g.fails(2, []string{"takes a NAME"}, "create", "source", "--journald")
	g.fails(2, []string{`what is "/var/log/x"?`}, "create", "source", "x", "/var/log/x")
	g.fails(2, []string{"want a whole number"}, "create", "source", "x", "--file-max-held-files", "many")
	g.fails(2, []string{"want NAME=VALUE"}, "create", "source", "x", "--label", "role")
	g.fails(2, []string{`unknown kind "sorce"`, "did you mean", "source"}, "create", "sorce", "x")
	wantFailure(t, g.runWith("-----BEGIN", "create", "tls-bundle", "x", "--ca", "-", "--cert", "-"), 2, "can be given to one flag only")
	g.fails(1, []string{"--ca: ", "no PEM file"}, "create", "tls-bundle", "x", "--ca", password)
	g.fails(1, []string{"--ca: ", "no such file"}, "create", "tls-bundle", "x", "--ca", "/nonexistent")
	g.fails(1, []string{"standard input is empty"}, "create", "target", "x", "--loki-url", "http://x", "--loki-bearer-token", "-")
	g.fails(2, []string{"-o \"csv\""}, "create", "service", "x", "-o", "csv")
}

// Each field of each kind has a flag that says what it means and reaches it.
func TestEveryFieldHasAFlag(t *testing.T) {
	ca, cert, key := certificate(t)
	secret := file(t, "secret", "hidden treasure")
	values := map[shape]string{shapeBool: "false", shapeNumber: "3", shapeSize: "2MiB", shapeDuration: "3s", shapeLevel: "info", shapeList: "a,b",
		shapeLabels: "a=b", shapeText: "x", shapeSecret: "@" + secret, shapePEM: ca, shapePart: "true"}
	_, _ = cert, key
	total := 0
	for _, kind := range config.Kinds() {
		for _, f := range fieldsOf(kind) {
			total++
			if f.text == "" {
				t.Errorf("%s --%s: nothing says what it means: run make docs", kind, f.flag)
			}
			c := newCreate(Options{})
			sub, _, err := c.Find([]string{string(kind)})
			if err != nil || sub.Flags().Lookup(f.flag) == nil {
				t.Errorf("%s has no flag --%s", kind, f.flag)
				continue
			}
			fields := addFlags(newWhoAmI(Options{}), kind, true)
			v := fields.values[f.flag]
			if err := v.Set(values[f.shape]); err != nil {
				t.Errorf("--%s %s: %v", f.flag, values[f.shape], err)
			}
			edits, err := fields.edits(newWhoAmI(Options{}))
			if err != nil {
				t.Fatal(err)
			}
			o := tree{}
			o.apply(edits)
			if o.at(f.path...) == nil {
				t.Errorf("--%s does not reach %s: %v", f.flag, f.json(), o)
			}
			// It is a field of the type: decoding does not know others.
			o["name"] = "x"
			text, _ := o.bytes()
			if _, err := config.Decode(kind, "x", text); err != nil && strings.Contains(err.Error(), "unknown field") {
				t.Errorf("--%s: %v", f.flag, err)
			}
		}
	}
	if total < 60 {
		t.Errorf("only %d flags", total)
	}
}

func TestUpdate(t *testing.T) {
	g := newRig(t)
	g.must("create", "target", "loki", "--loki-url", "http://localhost:3100", "--loki-bearer-token", "@"+file(t, "token", "s3cret"), "--loki-label", "a=1", "--loki-label", "b=2", "--spool-max-bytes", "1GiB")
	if out := g.must("update", "target", "loki", "--loki-label", "a-", "--loki-label", "c=3", "--queue-bytes", "16MiB"); out != "target/loki updated\n" {
		t.Error(out)
	}
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100","bearerToken":"s3cret","labels":{"b":"2","c":"3"}},"queueBytes":"16MiB","spool":{"maxBytes":"1GiB"}}`)
	// A part that is there stays as it is; fields are taken back by either name.
	g.must("update", "target", "loki", "--spool", "--unset", "queueBytes,loki-bearer-token", "--loki-label", "b-", "--loki-label", "c-")
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100"},"spool":{"maxBytes":"1GiB"}}`)
	g.must("update", "target", "loki", "--unset", "loki", "--spool=false", "--rsyslog-address", "h:1", "--rsyslog-structured-data-id", "")
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","rsyslog":{"address":"h:1","structuredDataId":""}}`)
	if out := g.must("update", "target", "loki", "--rsyslog-address", "h:1"); out != "target/loki unchanged\n" {
		t.Error(out)
	}
	if out := g.must("update", "target", "loki", "--rsyslog-address", "h:2", "--dry-run"); out != "target/loki updated (dry run: nothing was changed)\n" || strings.Contains(g.given(config.KindTarget, "loki"), "h:2") {
		t.Error(out)
	}
	g.fails(2, []string{"nothing to change"}, "update", "target", "loki")
	g.fails(2, []string{`--unset "color"`}, "update", "target", "loki", "--unset", "color")
	g.fails(1, []string{`"nobody"`, "lbshipd get targets lists"}, "update", "target", "nobody", "--rsyslog-address", "h:1")
}

// Somebody else is faster: their change of another field is kept, one of the same field wins.
func TestConcurrentUpdate(t *testing.T) {
	g := newRig(t)
	g.must("create", "source", "app", "--journald", "--min-level", "info", "--label", "a=1")
	g.store.before = func() { g.must("update", "source", "app", "--start-at", "beginning", "--label", "b=2") }
	if out := g.must("update", "source", "app", "--min-level", "error", "--label", "a=3"); out != "source/app updated\n" {
		t.Error(out)
	}
	g.wantGiven(config.KindSource, "app", `{"name":"app","journald":{},"minLevel":"error","labels":{"a":"3","b":"2"},"startAt":"beginning"}`)

	g.store.before = func() { g.must("update", "source", "app", "--min-level", "debug") }
	g.fails(1, []string{"changed meanwhile", "Get it again"}, "update", "source", "app", "--min-level", "alert")
	g.wantGiven(config.KindSource, "app", `{"name":"app","journald":{},"minLevel":"debug","labels":{"a":"3","b":"2"},"startAt":"beginning"}`)

	// Always faster: it is not tried for ever.
	level := []string{"info", "notice", "warning", "error"}
	var again func()
	again = func() {
		next := level[0]
		level = level[1:]
		g.must("update", "source", "app", "--start-at", []string{"end", "beginning"}[len(level)%2], "--label", "n="+next)
		if len(level) > 0 {
			g.store.before = again
		}
	}
	g.store.before = again
	g.fails(1, []string{"changed meanwhile"}, "update", "source", "app", "--time-zone", "UTC")
}

func TestDelete(t *testing.T) {
	g := newRig(t)
	ca, _, _ := certificate(t)
	g.must("create", "tls-bundle", "siem", "--ca", ca)
	g.must("create", "target", "siem", "--rsyslog-address", "h:1", "--rsyslog-tls-bundle", "siem")
	g.fails(1, []string{"siem"}, "delete", "tls-bundle", "siem")
	if out := g.must("delete", "target", "siem", "--dry-run"); out != "target/siem deleted (dry run: nothing was changed)\n" {
		t.Error(out)
	}
	if out := g.must("delete", "target/siem", "tlsBundle/siem"); out != "target/siem deleted\ntls-bundle/siem deleted\n" {
		t.Error(out)
	}
	g.fails(1, []string{`"siem"`, "lbshipd get targets"}, "delete", "target", "siem")
	if out := g.must("delete", "target", "siem", "--ignore-missing"); out != "" {
		t.Error(out)
	}
	g.store.nodes = []config.Collector{{ID: "node-7"}}
	g.must("delete", "collector", "node-7")
	g.fails(1, []string{"node-7"}, "delete", "collector", "node-7")
	g.fails(2, []string{"takes a NAME"}, "delete", "target")
	g.fails(2, []string{"is no kind of object"}, "delete", "pod", "x")
	g.fails(2, []string{"KIND/NAME"}, "delete", "target/a", "b")
	g.fails(2, []string{"is no name"}, "delete", "target", "source/b")
}

func TestEnableAndDisable(t *testing.T) {
	g := newRig(t)
	g.must("create", "target", "loki", "--loki-url", "http://localhost:3100")
	g.must("create", "source", "app", "--journald")
	if out := g.must("disable", "target/loki", "source/app"); out != "target/loki disabled\nsource/app disabled\n" {
		t.Error(out)
	}
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","enabled":false,"loki":{"url":"http://localhost:3100"}}`)
	if out := g.must("disable", "target", "loki"); out != "target/loki was disabled already\n" {
		t.Error(out)
	}
	if out := g.must("enable", "target", "loki"); out != "target/loki enabled\n" {
		t.Error(out)
	}
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100"}}`)
	if out := g.must("enable", "target", "loki"); out != "target/loki was enabled already\n" {
		t.Error(out)
	}
	g.fails(2, []string{"not a format"}, "disable", "format", "x")
	g.fails(2, []string{"takes a NAME"}, "enable", "target")
	g.fails(1, []string{`"x"`}, "enable", "target", "x")
}

// Commands that change one file at the same time lose nothing of each other: those about different
// objects are all done, and of those about one field each is done or told to look again.
func TestManyCommandsAtOnce(t *testing.T) {
	g := newRig(t)
	g.must("create", "service", "one", "--log-format", "json")
	var work sync.WaitGroup
	results := make([]result, 16)
	for i := range results {
		work.Go(func() {
			if i%2 == 0 {
				results[i] = g.run("create", "service", fmt.Sprintf("mine%d", i), "--log-format", "logfmt")
			} else {
				results[i] = g.run("update", "service", "one", "--log-format", []string{"raw", "klog", "cri"}[i%3])
			}
		})
	}
	work.Wait()
	done := 0
	for i, r := range results {
		if r.code == 0 {
			done++
		} else if i%2 == 0 || !strings.Contains(r.err, "changed") {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if done < len(results)/2+1 {
		t.Errorf("only %d were done", done)
	}
	if n := strings.Count(g.must("get", "services", "-o", "name"), "service/mine"); n != len(results)/2 {
		t.Errorf("%d are stored", n)
	}
}
