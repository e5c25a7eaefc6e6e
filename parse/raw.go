package parse

import "github.com/lbshipd/lbshipd/record"

// rawFormat takes every line as it is, without looking into it.
type rawFormat struct{}

func (rawFormat) Level([]byte) record.Level { return record.LevelUnknown }

func (rawFormat) Parse(_ *record.Batch, r *record.Record, _ *Options) bool {
	if r.Message == nil {
		r.Message = r.Line
	}
	return true
}
