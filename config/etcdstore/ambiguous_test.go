package etcdstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// proxied makes a Store that reaches etcd through a proxy.
func (r *rig) proxied() (*Store, *proxy) {
	r.t.Helper()
	p := newProxy(r.t, r.etcd.Endpoints()[0])
	return r.open(func(o *Options) { o.Endpoints = []string{p.endpoint()} }), p
}

// create is a write that may be applied only once: a second time it would be ErrExists.
func create(t testing.TB, name string) config.Change {
	c := source(t, name, "")
	c.Create = true
	return c
}

// wantOnce demands that the history has one write, whose object stands.
func (r *rig) wantOnce(s *Store, w config.Written, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	h, err := s.History(r.ctx())
	if err != nil || len(h) != 1 || h[0].ID != w.Revision.ID {
		r.t.Fatalf("history %+v, %v; written %+v", h, err, w.Revision)
	}
	if o := r.find(s, config.KindSource, "a"); o.Etag != w.Objects[0].Etag || o.By != "ada" || w.Objects[0].By != "ada" {
		r.t.Fatalf("stored %+v, written %+v", o, w.Objects[0])
	}
}

// A write that was applied though its answer never came is found out, not repeated.
func TestAppliedButNotAnswered(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.proxied()
	p.next(func(x *transfer) {
		x.swallow()
		x.server.Write(x.data)
		eventually(t, "it is applied", func() bool { return r.get("sources/a") != "" })
		x.client.Close()
	})
	w, err := s.Write(r.ctx(), []config.Change{create(t, "a")}, me)
	r.wantOnce(s, w, err)
}

// The same, and somebody else has changed things before it is found out.
func TestAppliedNotAnsweredAndOverwritten(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.proxied()
	direct := r.open()
	p.next(func(x *transfer) {
		x.swallow()
		x.server.Write(x.data)
		eventually(t, "it is applied", func() bool { return r.get("sources/a") != "" })
		r.write(direct, source(t, "a", ", minLevel: error"))
		x.client.Close()
	})
	w, err := s.Write(r.ctx(), []config.Change{create(t, "a")}, me)
	if err != nil || w.Revision.ID != 1 {
		t.Fatalf("%+v, %v", w, err)
	}
	if o := r.find(direct, config.KindSource, "a"); !strings.Contains(string(o.Given), "error") || o.Etag == w.Objects[0].Etag {
		t.Fatalf("the other one's change is gone: %s", o.Given)
	}
}

// A write that never arrived is made once the connection is back.
func TestNeitherAppliedNorAnswered(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.proxied()
	p.next(func(x *transfer) { x.client.Close() })
	w, err := s.Write(r.ctx(), []config.Change{create(t, "a")}, me)
	r.wantOnce(s, w, err)
}

// A write that arrives late, after it was repeated, does nothing.
func TestAppliedLate(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.proxied()
	late := make(chan struct{})
	landed := make(chan struct{})
	p.next(func(x *transfer) {
		server, data := x.server, x.data
		x.client.Close()
		go func() {
			defer close(landed)
			<-late
			server.Write(data)
			server.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		}()
		<-landed
	})
	w, err := s.Write(r.ctx(), []config.Change{create(t, "a")}, me)
	if err != nil {
		t.Fatal(err)
	}
	w, err = s.Write(r.ctx(), []config.Change{source(t, "a", ", minLevel: error")}, me)
	close(late)
	<-landed
	time.Sleep(300 * time.Millisecond) // that nothing happens cannot be polled for
	h, herr := s.History(r.ctx())
	if err != nil || herr != nil || len(h) != 2 || r.find(s, config.KindSource, "a").Etag != w.Objects[0].Etag {
		t.Fatalf("history %+v, %v, %v", h, err, herr)
	}
}

// What cannot be found out in time is said to be unknown.
func TestUnknownWhetherApplied(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.o.Timeout = 5 * time.Second // it has to be enough for what comes before the write
	s, p := r.proxied()
	if _, err := s.List(r.ctx()); err != nil {
		t.Fatal(err)
	}
	p.next(func(x *transfer) {
		x.swallow()
		x.server.Write(x.data)
		p.close()
	})
	_, err := s.Write(t.Context(), []config.Change{create(t, "a")}, me)
	if !errors.Is(err, config.ErrUnavailable) || !strings.Contains(err.Error(), "not known whether") {
		t.Fatalf("got %v", err)
	}
	// One that was not even sent is not.
	_, err = s.Write(t.Context(), []config.Change{create(t, "b")}, me)
	if !errors.Is(err, config.ErrUnavailable) || strings.Contains(err.Error(), "not known whether") {
		t.Fatalf("got %v", err)
	}
}

// What was checked holds when it is written: while a source that names a format is
// on its way, somebody deletes the format. One of the two is refused.
func TestReferencesHoldWhileWritesRace(t *testing.T) {
	r := newRig(t, nil)
	s, p := r.proxied()
	direct := r.open()
	r.write(direct, config.Change{Kind: config.KindFormat, Name: "f", Draft: draft(t, config.KindFormat, `{name: f, regex: '(?P<message>.*)'}`)})
	p.next(func(x *transfer) {
		r.write(direct, config.Change{Kind: config.KindFormat, Name: "f"})
		x.server.Write(x.data)
	})
	_, err := s.Write(r.ctx(), []config.Change{source(t, "a", ", logFormat: 'regex:f'")}, me)
	if err == nil || !strings.Contains(err.Error(), "regex:f") && !strings.Contains(err.Error(), `"f"`) {
		t.Errorf("got %v", err)
	}
	if all, err := direct.List(r.ctx()); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}
