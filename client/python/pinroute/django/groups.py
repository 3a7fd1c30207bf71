"""groups.py -- alias groups: which Django aliases make up one cluster, and which models live there."""
import warnings

from django.conf import settings


class Aliases(dict):
    """From a node's name, as pinrouted knows it, to the alias to use; a name that is unknown here is the primary."""

    def __init__(self, primary, aliases):
        super().__init__({alias: alias for alias in aliases})
        self.primary = primary
        self[""] = primary

    def __missing__(self, node):
        self[node] = self.primary
        warnings.warn(f"pinrouted.ini has a node {node!r}, which is no alias in DATABASES (or one of another cluster): "
                      f"its reads go to {self.primary!r}. Name the node as the alias, or add the alias.",
                      UserWarning, stacklevel=2)
        return self.primary


class Group:
    """One cluster: its name in pinrouted.ini, the primary's alias, the replicas' aliases, what lives there.

    number   its place among the site's groups
    listed   did the settings list its replicas?  Otherwise any alias may be one.
    nodes    node name -> alias
    """

    def __init__(self, name, primary, replicas, apps=(), listed=False):
        self.name = name
        self.primary = primary
        self.replicas = list(replicas)
        self.apps = frozenset(a.lower() if "." not in a else a.split(".", 1)[0] + "." + a.split(".", 1)[1].lower()
                              for a in apps)
        self.listed = listed
        self.number = 0
        self.nodes = None

    def __contains__(self, alias):
        return alias == self.primary or alias in self.replicas


class Groups(list):
    """All groups of a site, the one for "all the rest" first."""

    def __init__(self, groups):
        super().__init__(groups)
        self.first = self[0]
        self.only = self[0] if len(self) == 1 else None
        self._of_model = {}
        for number, group in enumerate(self):
            group.number = number
            others = {a for g in self if g is not group for a in (g.primary, *g.replicas)}
            group.nodes = Aliases(group.primary, [a for a in settings.DATABASES if a not in others])

    def of_model(self, model):
        """Where a model's (or an instance's) rows live."""
        group = self.only or self._of_model.get(model)
        if group is None:
            meta = getattr(model, "_meta", None)
            group = self.of_name(meta.app_label, meta.model_name) if meta else self.first
            self._of_model[model] = group
        return group

    def of_name(self, app_label, model_name=None):
        """Where app.Model lives; a group that names the model goes before one that names the app."""
        names = [f"{app_label}.{model_name.lower()}"] if model_name else []
        for name in [*names, app_label]:
            for group in self:
                if name in group.apps:
                    return group
        return self.first

    def of_alias(self, alias):
        """The group that an alias belongs to, or None."""
        return next((group for group in self if alias in group), None)

    def named(self, name):
        """The group of a cluster; ValueError names the clusters that there are."""
        for group in self:
            if group.name == name:
                return group
        raise ValueError(f"no cluster {name!r}: there are {', '.join(g.name for g in self)}")

    def allow_migrate(self, alias, app_label, model_name=None):
        """True on the primary of the group where the model lives, False elsewhere in a group, None outside all."""
        group = self.of_alias(alias)
        if group is None:
            return None
        if alias != group.primary:
            return False
        if group is self.of_name(app_label, model_name):
            return True
        return model_name is None and any(a.startswith(f"{app_label}.") for a in group.apps)
