package etcdstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// What is written is listed, with who wrote it and when, and an Etag that
// changes with it and only then.
func TestWriteAndList(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	w := r.write(s, source(t, "b", ""), source(t, "a", ", minLevel: info"))
	if w.Revision.ID != 1 || len(w.Revision.Changes) != 2 || w.Revision.Changes[0].Action != "create" || len(w.Objects) != 2 || w.Objects[0].Name != "b" {
		t.Fatalf("written: %+v", w)
	}
	all, err := s.List(r.ctx())
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Name != "b" {
		t.Fatalf("%+v, %v", all, err)
	}
	a := all[0]
	if a.By != "ada" || time.Since(a.Updated) > time.Minute || a.Etag != w.Objects[1].Etag || string(a.Given) != `{"name":"a","journald":{},"minLevel":"info"}` {
		t.Fatalf("%+v, given %s", a, a.Given)
	}
	// The same again is no change.
	w = r.write(s, source(t, "a", ", minLevel: info"))
	if w.Revision.ID != 0 || len(w.Revision.Changes) != 0 || w.Objects[0].Etag != a.Etag {
		t.Fatalf("written again: %+v", w)
	}
	w = r.write(s, source(t, "a", ", minLevel: error"))
	if w.Revision.ID != 2 || w.Objects[0].Etag == a.Etag || r.find(s, config.KindSource, "b").Etag != all[1].Etag {
		t.Fatalf("changed: %+v", w)
	}
	w = r.write(s, config.Change{Kind: config.KindSource, Name: "a"})
	if w.Objects[0].Object != nil || w.Objects[0].Etag != "" || w.Revision.Changes[0].Action != "delete" {
		t.Fatalf("deleted: %+v", w)
	}
	if all, _ := s.List(r.ctx()); len(all) != 1 {
		t.Fatalf("%d objects after deleting one", len(all))
	}
}

func TestConditions(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	with := func(c config.Change, f func(*config.Change)) config.Change { f(&c); return c }
	old := r.write(s, source(t, "a", "")).Objects[0].Etag
	r.write(s, source(t, "a", ", minLevel: info"))
	for _, c := range []struct {
		change config.Change
		want   error
	}{
		{with(source(t, "a", ""), func(c *config.Change) { c.Create = true }), config.ErrExists},
		{with(source(t, "c", ""), func(c *config.Change) { c.Replace = true }), config.ErrNotFound},
		{with(source(t, "a", ""), func(c *config.Change) { c.IfMatch = old }), config.ErrStale},
		{config.Change{Kind: config.KindSource, Name: "c", Replace: true}, config.ErrNotFound},
	} {
		_, err := s.Write(r.ctx(), []config.Change{source(t, "other", ""), c.change}, me)
		wantError(t, err, c.want)
	}
	dry := me
	dry.DryRun = true
	w, err := s.Write(r.ctx(), []config.Change{source(t, "other", "")}, dry)
	if err != nil || w.Revision.ID != 0 || len(w.Revision.Changes) != 1 {
		t.Fatalf("dry run: %+v, %v", w, err)
	}
	if all, _ := s.List(r.ctx()); len(all) != 1 {
		t.Fatalf("%d objects: something was written by what was refused", len(all))
	}
}

// A bad object is told of and harms nothing else.
func TestBadObjects(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	r.write(s, source(t, "good", ""), target(t, "out", "pw"))
	long := `{"name":"long","journald":{}}` + strings.Repeat(" ", config.MaxObjectBytes)
	bad := map[string]struct{ value, want string }{
		"sources/text":     {"hello", "not a JSON object"},
		"sources/list":     {"[]", "not a JSON object"},
		"sources/empty":    {"", "not a JSON object"},
		"sources/bytes":    {"\xff\xfe\x00", "not a JSON object"},
		"sources/other":    {`{"name":"another","journald":{}}`, `its key ends in "other", but it is named "another"`},
		"sources/future":   {`{"format":2,"object":{"name":"future","journald":{}}}`, "another version of lbshipd"},
		"sources/odd":      {`{"format":1,"version":"x","object":{"name":"odd","journald":{}}}`, "not what lbshipd writes"},
		"sources/field":    {`{"name":"field","journald":{},"colour":"red"}`, "colour"},
		"sources/long":     {long, "bytes"},
		"sources/A/b":      {`{"name":"A/b","journald":{}}`, "name"},
		"targets/hidden":   {`{"name":"hidden","loki":{"url":"http://x","bearerToken":"(hidden)"}}`, "stands for a secret"},
		"targets/sealed":   {`{"name":"sealed","loki":{"url":"http://x","bearerToken":"sealed:v1:0123456789abcdef:AAAA"}}`, "no cluster key file"},
		"tls-bundles/null": {`null`, "not a JSON object"},
		"formats/obj":      {`{"format":1,"object":3}`, "JSON"},
	}
	for key, b := range bad {
		r.put(key, b.value)
	}
	r.put("pipelines/later", "a kind of another version")
	r.put("sources-of-others", "x")
	all, err := s.List(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, o := range all {
		b, isBad := bad[o.Kind.Plural()+"/"+o.Name]
		if !isBad {
			if o.Err != nil {
				t.Errorf("%s %q is good: %v", o.Kind, o.Name, o.Err)
			}
			continue
		}
		found++
		var problems config.Problems
		if !errors.As(o.Err, &problems) || !strings.Contains(o.Err.Error(), b.want) || o.Object != nil {
			t.Errorf("%s %q: %v, want %q", o.Kind, o.Name, o.Err, b.want)
		}
	}
	if found != len(bad) || len(all) != len(bad)+2 {
		t.Errorf("%d objects, %d of them bad", len(all), found)
	}
	e := r.watch(s).want("good out")
	if len(e.Rejected) != len(bad) {
		t.Errorf("%d rejected: %+v", len(e.Rejected), e.Rejected)
	}
	// They can be replaced and deleted.
	r.write(s, source(t, "text", ""), config.Change{Kind: config.KindSource, Name: "long"})
	if o := r.find(s, config.KindSource, "text"); o.Err != nil || o.By != "ada" {
		t.Errorf("replaced: %+v", o)
	}
}

// What somebody writes with etcdctl shows as theirs, also if it is our value, edited.
func TestWrittenByHand(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	r.write(s, source(t, "a", ""))
	r.put("sources/b", `{"name": "b", "journald": {}}`)
	if o := r.find(s, config.KindSource, "b"); o.By != "etcd" || !o.Updated.IsZero() || o.Err != nil {
		t.Errorf("%+v", o)
	}
	was := r.find(s, config.KindSource, "a")
	r.put("sources/a", strings.Replace(r.get("sources/a"), `"journald":{}`, `"journald":{},"minLevel":"info"`, 1))
	is := r.find(s, config.KindSource, "a")
	if was.By != "ada" || is.By != "etcd" || !is.Updated.IsZero() || is.Etag == was.Etag || !strings.Contains(string(is.Given), "minLevel") {
		t.Errorf("was %+v, is %+v", was, is)
	}
	if o := r.write(s, source(t, "a", "")).Objects[0]; o.By != "ada" {
		t.Errorf("written again: %+v", o)
	}
}

// Many objects are one transaction, and one event for whoever watches, however many operations etcd
// takes in one; somebody else's change in between, through us or by hand, begins it anew.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t, nil)
	r.o.Timeout = time.Minute // a busy machine is not a fault
	s, p := r.proxied()
	w := r.watch(r.open())
	var many []config.Change
	for i := range 700 {
		many = append(many, create(t, fmt.Sprintf("s%03d", i)))
	}
	direct := r.open()
	if _, err := s.List(r.ctx()); err != nil {
		t.Fatal(err)
	}
	p.next(func(x *transfer) {
		r.put("sources/s000", `{"name":"s000","journald":{}}`)
		x.server.Write(x.data)
	})
	_, err := s.Write(r.ctx(), many, me)
	wantError(t, err, config.ErrExists)
	if all, err := direct.List(r.ctx()); err != nil || len(all) != 1 {
		t.Fatalf("%d are there, %v", len(all), err)
	}
	r.write(direct, config.Change{Kind: config.KindSource, Name: "s000"})
	p.next(func(x *transfer) {
		r.write(direct, source(t, "through-us", ""))
		x.server.Write(x.data)
	})
	began := time.Now()
	done, err := s.Write(r.ctx(), many, me)
	t.Logf("%d objects in %v", len(many), time.Since(began))
	if err != nil || len(done.Objects) != len(many) {
		t.Fatalf("%d objects: %v", len(done.Objects), err)
	}
	for {
		e := w.next()
		if n := len(e.Config.Sources); n == len(many)+1 {
			break
		} else if n > 1 {
			t.Fatalf("%d sources were seen at some time", n)
		}
	}
	if o := r.find(s, config.KindSource, "s699"); o.Etag != done.Objects[699].Etag {
		t.Errorf("its Etag is %s, and %s was told", o.Etag, done.Objects[699].Etag)
	}
	// All or nothing: one that is there already keeps the others from being written.
	more := append(many[:0:0], create(t, "s000"))
	for i := range 300 {
		more = append(more, create(t, fmt.Sprintf("t%03d", i)))
	}
	_, err = s.Write(r.ctx(), more, me)
	wantError(t, err, config.ErrExists)
	// A rollback is as large as what it undoes.
	back, err := s.Rollback(r.ctx(), done.Revision.ID-1, me)
	if err != nil || len(back.Revision.Changes) != len(many) {
		t.Errorf("rolled back %d: %v", len(back.Revision.Changes), err)
	}
	if all, err := s.List(r.ctx()); err != nil || len(all) != 1 {
		t.Errorf("%d are left, %v", len(all), err)
	}
}

func TestTooMuchAtOnce(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	// What was there before counts too.
	var gone []config.Change
	for _, name := range []string{"x", "y", "z"} {
		r.put("sources/"+name, strings.Repeat("x", 540<<10))
		gone = append(gone, config.Change{Kind: config.KindSource, Name: name})
	}
	if _, err := s.Write(r.ctx(), gone, me); err == nil || !strings.Contains(err.Error(), "at most 1556480 can be") {
		t.Errorf("1.6 MiB: %v", err)
	}
	r.write(s, gone[:2]...)
}
