package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Default log formats: a journal entry is a message already; a file may hold
// anything.
const (
	defaultJournaldFormat = "raw"
	defaultFileFormat     = "auto"
)

// SetDefaults gives every field that is zero and has a default its default.
// The defaults stand in the default tags of the objects and nowhere else.
//
// Parse has done so already, and knows what was given: after it SetDefaults
// changes nothing (batchWait: 0s stays 0s).
func (c *Config) SetDefaults() {
	if c.doc != nil || c.settled {
		return
	}
	setDefaults(reflect.ValueOf(c).Elem())
	c.setFormatDefaults()
}

// setFormatDefaults sets what depends on the kind of source and on the services.
func (c *Config) setFormatDefaults() {
	table := newServiceTable(c.Services)
	for i := range c.Sources {
		if s := &c.Sources[i]; s.LogFormat == "" {
			s.LogFormat = table.defaultFormat(s)
		}
	}
}

// setDefaults walks v, a struct, and all that it holds.
func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		if !t.IsExported() {
			continue
		}
		switch {
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			for j := range f.Len() {
				setDefaults(f.Index(j))
			}
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct:
			if !f.IsNil() {
				setDefaults(f.Elem())
			}
		}
		setDefault(f, t)
	}
}

// setDefault sets one field from its tag, if it is zero and has one.
func setDefault(f reflect.Value, t reflect.StructField) {
	text := t.Tag.Get("default")
	if text == "" || !f.IsZero() || t.Name == "LogFormat" {
		return
	}
	switch f.Interface().(type) {
	case string:
		f.SetString(text)
	case *string:
		f.Set(reflect.ValueOf(&text))
	case *bool:
		yes := text == "true"
		f.Set(reflect.ValueOf(&yes))
	case []string:
		f.Set(reflect.ValueOf(strings.Split(text, ", ")))
	case Bytes, Duration, int:
		f.SetInt(tagNumber(f.Type(), text))
	default:
		panic(fmt.Sprintf("config: field %s has a default that setDefault cannot set", t.Name))
	}
}

// tagNumber reads the default, min or max of a Bytes, Duration or int field. The
// tags are ours, so a bad one is a bug, which the tests find.
func tagNumber(t reflect.Type, text string) int64 {
	if t == reflect.TypeFor[Bytes]() {
		n, err := ParseBytes(text)
		if err != nil {
			panic("config: bad tag: " + err.Error())
		}
		return int64(n)
	}
	if t.Kind() == reflect.Int {
		n, err := strconv.Atoi(text)
		if err != nil {
			panic("config: bad tag: " + err.Error())
		}
		return int64(n)
	}
	d, err := ParseDuration(text)
	if err != nil {
		panic("config: bad tag: " + err.Error())
	}
	return int64(d)
}
