# tidy.sed -- takes out of scdoc's output the paragraphs that hold nothing, which mandoc -T lint warns of.
# For sed -z: one pass over the whole page.
:inside
s/\n\.P\n\.RE\n/\n.RE\n.P\n/g
t inside
s/(\n\.P)+\n/\n.P\n/g
:headed
s/(\n\.S[HS] [^\n]*)\n\.P\n/\1\n/g
t headed
s/\n\.P\n(\.S[HS] )/\n\1/g
s/\n\.P\n$/\n/
