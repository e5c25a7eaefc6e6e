package ctl

import (
	"fmt"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

// kindCollector stands beside the kinds of objects where nodes can be named too.
const kindCollector config.Kind = "collector"

// kindAll stands for all kinds of objects.
const kindAll config.Kind = "all"

// ref names an object.
type ref struct {
	kind config.Kind
	name string
}

func (r ref) String() string { return string(r.kind) + "/" + r.name }

// kindNames lists what people may write.
func kindNames(more ...config.Kind) string {
	var names []string
	for _, k := range append(config.Kinds(), more...) {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// parseKind takes a kind as people write it, or one of more.
func parseKind(text string, more ...config.Kind) (config.Kind, error) {
	for _, k := range more {
		if text == string(k) || text == string(k)+"s" {
			return k, nil
		}
	}
	kind, ok := config.ParseKind(text)
	if !ok {
		return "", usage("%q is no kind of object: want %s", text, kindNames(more...))
	}
	return kind, nil
}

// parseRefs takes KIND NAME..., or KIND/NAME...
func parseRefs(args []string, more ...config.Kind) ([]ref, error) {
	if len(args) == 0 {
		return nil, usage("say which: KIND NAME; kinds are %s", kindNames(more...))
	}
	if !strings.Contains(args[0], "/") {
		kind, err := parseKind(args[0], more...)
		if err != nil {
			return nil, err
		}
		var refs []ref
		for _, name := range args[1:] {
			if name == "" || strings.Contains(name, "/") {
				return nil, usage("%q is no name: give KIND NAME... or KIND/NAME...", name)
			}
			refs = append(refs, ref{kind, name})
		}
		return refs, nil
	}
	var refs []ref
	for _, arg := range args {
		kindText, name, ok := strings.Cut(arg, "/")
		if !ok || name == "" || strings.Contains(name, "/") {
			return nil, usage("%q: give all as KIND/NAME, or KIND NAME...", arg)
		}
		kind, err := parseKind(kindText, more...)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref{kind, name})
	}
	return refs, nil
}

// about says which object an error is about, if that is not said yet.
func about(r ref, err error) error {
	if err == nil || strings.Contains(err.Error(), r.name) {
		return err
	}
	return fmt.Errorf("%s: %w", r, err)
}
