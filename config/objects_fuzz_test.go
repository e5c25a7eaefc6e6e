package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// checkProblems demands of an error that it says what is wrong and where.
func checkProblems(t *testing.T, err error, file string) {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("error is a %T", err)
	}
	for _, p := range problems {
		if p.Line < 1 || p.Message == "" || p.File != file || strings.ContainsAny(p.String(), "\n\r") {
			t.Fatalf("problem %+v", p)
		}
	}
}

// FuzzDecode demands of any input, as an object of any kind: no panic, problems that say where, and
// what is taken is the same when it is written and read again.
func FuzzDecode(f *testing.F) {
	for i, kind := range Kinds() {
		for _, c := range append(fullDrafts(f), moreDrafts(f)...) {
			if c.Kind == kind {
				f.Add(i, c.Draft.Given)
				shown, err := RenderGiven(Stored{Kind: c.Kind, Name: c.Name, Draft: *c.Draft})
				if err != nil {
					f.Fatal(err)
				}
				f.Add(i, shown)
			}
		}
		f.Add(i, []byte(`{"name":"a","name":"a","\ud83d\ude00":[{},[null,1e9,-0,true]],"a":{"b":{"c":"`+"\\u0000"+`"}}}`))
		f.Add(i, []byte("name: &a x\nlabels: {<<: {b: *a}}\nkind: source"))
	}
	f.Fuzz(func(t *testing.T, number int, data []byte) {
		kind := Kinds()[uint(number)%uint(len(Kinds()))]
		checkGivenOf(t, kind, data)
		d, err := Decode(kind, "x", data)
		if err != nil {
			checkProblems(t, err, "x")
			return
		}
		if d.Object.Kind() != kind || !validName.MatchString(d.Object.ObjectName()) {
			t.Fatalf("a %s %q", d.Object.Kind(), d.Object.ObjectName())
		}
		again, err := Decode(kind, "again", d.Given)
		if err != nil {
			t.Fatalf("%v\n%s", err, d.Given)
		}
		if string(again.Given) != string(d.Given) {
			t.Fatalf("given\n%s\nis\n%s", d.Given, again.Given)
		}
		if diff := cmp.Diff(d.Object, again.Object, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s\n%s", d.Given, diff)
		}
		rendered, err := Render(d.Object)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := Decode(kind, "shown", rendered)
		if err != nil {
			t.Fatalf("%v\n%s", err, rendered)
		}
		hide(reflect.ValueOf(d.Object).Elem())
		if diff := cmp.Diff(d.Object, shown.Object, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s\n%s", rendered, diff)
		}
	})
}

// checkGivenOf shows, diffs and looks for secrets in what may be no object at all.
func checkGivenOf(t *testing.T, kind Kind, data []byte) {
	t.Helper()
	s := Stored{Kind: kind, Name: "x", Draft: Draft{Given: data}, Err: errors.New("bad")}
	if shown, err := RenderGiven(s); err != nil || !strings.HasPrefix(string(shown), "{") {
		t.Fatalf("%v: %s", err, shown)
	}
	Diff([]Stored{s}, []Change{{Kind: kind, Name: "x"}})
	same, err := Secrets(kind, data, func(_, value string) (string, error) { return value, nil })
	if err != nil {
		return
	}
	if again, err := Secrets(kind, same, func(_, value string) (string, error) { return value, nil }); err != nil || string(again) != string(same) {
		t.Fatalf("%v: %s is %s", err, same, again)
	}
}

// FuzzDecodeAll demands of any file: no panic, problems that say where, and objects that are whole.
func FuzzDecodeAll(f *testing.F) {
	f.Add([]byte(expand(f, fullText)))
	f.Add([]byte(expand(f, planText)))
	f.Add([]byte("kind: source\nname: a\njournald: {}\n---\n[{kind: target, name: b, stdout: {}}]\n---\n- sources: [&x {name: b, journald: {}}, *x]\n"))
	f.Add([]byte(`{"sources":[{"name":"a","journald":{}}]}{"kind":"format","name":"f","regex":"(?P<a>.)"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		changes, err := DecodeAll("x", data)
		if err != nil {
			checkProblems(t, err, "x")
			return
		}
		if len(changes) == 0 {
			t.Fatal("nothing, and no error")
		}
		for _, c := range changes {
			d, err := Decode(c.Kind, "again", c.Draft.Given)
			if err != nil || string(d.Given) != string(c.Draft.Given) || c.Name != d.Object.ObjectName() {
				t.Fatalf("%v: %s is %s", err, c.Draft.Given, d.Given)
			}
		}
		after, effective, _, err := Plan(nil, changes)
		if err == nil && (len(after) != len(changes) || len(effective) != len(changes)) {
			t.Fatalf("%d of %d are there, %d have changed", len(after), len(changes), len(effective))
		}
	})
}

// FuzzAssemble gives stored objects that anybody may have written: what is left is valid,
// nothing is left out without a reason, and objects that can be used by themselves stay.
func FuzzAssemble(f *testing.F) {
	f.Add("a", []byte(`{"name":"a","journald":{},"logFormat":"regex:f"}`), []byte(`{"name":"a","rsyslog":{"address":"x:1","tlsBundle":"a"}}`),
		[]byte(`{"name":"a","caFile":"x"}`), []byte(`{"name":"f","regex":"(?P<a>.)"}`), []byte(`{"name":"etcd","logFormat":"regex:f"}`))
	for i := range 3 {
		var given [5][]byte
		for k, kind := range Kinds() {
			for _, c := range append(fullDrafts(f), moreDrafts(f)...) {
				if c.Kind == kind && len(given[k]) <= i*100 {
					given[k] = c.Draft.Given
				}
			}
		}
		f.Add("b", given[3], given[4], given[0], given[1], given[2])
	}
	f.Fuzz(func(t *testing.T, name string, source, target, bundle, format, service []byte) {
		objects := stored(t, "sources: [{name: fine, journald: {}}]\ntargets: [{name: fine, stdout: {}}]")
		for i, given := range [][]byte{bundle, format, service, source, target} {
			s := Stored{Kind: Kinds()[i], Name: name}
			s.Draft, s.Err = Decode(s.Kind, "x", given)
			if s.Given == nil {
				s.Given = given
			}
			objects = append(objects, s)
			if s.Object != nil {
				s.Name = s.Object.ObjectName()
				objects = append(objects, s)
			}
		}
		c, rejected := Assemble(objects)
		if err := c.Validate(); err != nil {
			t.Fatalf("what is left is not valid: %v", err)
		}
		left := map[string]bool{}
		for _, n := range names(c) {
			left[n] = true
		}
		if name != "fine" && (!left["source/fine"] || !left["target/fine"]) {
			t.Fatalf("what is fine is left out: %v, %v", names(c), rejected)
		}
		for _, r := range rejected {
			if r.Reason == "" || left[string(r.Kind)+"/"+r.Name] {
				t.Fatalf("rejected %+v of %v", r, names(c))
			}
			left[string(r.Kind)+"/"+r.Name] = true
		}
		for _, s := range objects {
			if !left[string(s.Kind)+"/"+s.Name] {
				t.Fatalf("%s %q has vanished", s.Kind, s.Name)
			}
		}
		Hash(objects)
		WithServices(objects)
		c.ForNode(Node{Name: name})
		if _, _, _, err := Plan(objects, []Change{{Kind: KindSource, Name: name}}); err != nil && name != "fine" {
			t.Fatalf("what cannot be used cannot be deleted: %v", err)
		}
	})
}
