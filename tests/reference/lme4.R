# Reference values for the tests, from lme4 and from R's own integrate().
#
# Run from the root of the repository:  Rscript tests/reference/lme4.R       (about half a minute)
# Writes  tests/reference/simulated.csv, boundary.csv, lme4.json           (the same bytes each time)
# Needs   lme4, and nothing that does not come with it.
#
# THE MODEL  y_ij ~ Bernoulli(p_ij), logit p_ij = x_ij'beta + u_i, u_i ~ N(0, tau^2).
#
# lme4.json
#   about      versions; the control settings; the constant that lme4 drops
#   simulated  y ~ x1 + x2 + (1 | group): 40 groups of 1 to 12 rows, simulated.csv
#   boundary   y ~ x1 + (1 | group): groups more alike than chance, tau-hat = 0, boundary.csv
# Each of the two has `columns` (of X, in order), `rows`, `groups` and `fits`, keyed by nAGQ:
#   beta, tau          lme4's objective maximised: the best of glmer's optimisers from several
#                      starts, then Newton steps on lme4's own deviance function
#   loglik             lme4's log-likelihood there, its inner loop converged
#   loglik_direct      the same approximation, programmed below without lme4
#   loglik_integral    the log-likelihood itself at the same parameters, by integrate()
#   gradient           of `loglik` in (beta, log tau), by differences: how near the maximum we are
#   se, se_log_tau     from the inverse of minus the Hessian in (beta, log tau), by differences
#   modes              the conditional modes of the first groups, by label
#   glmer              the best glmer() result as lme4 returns it, no Newton steps: optimizer,
#                      beta, tau, loglik, se (from vcov), modes
#   glmer_default      the same for glmer() with its default control: what a user sees. Its inner
#                      loop stops early (tolPwrss = 1e-7), so its loglik can be off by more than
#                      its optimiser is; `loglik_tight` is lme4's log-likelihood at the same
#                      parameters with the inner loop converged; `singular`, `messages`: lme4's
# Both have `fixed`: log-likelihoods at given parameters away from the maximum:
#   beta, tau, integral, lme4 (by nAGQ), direct (by nAGQ), ordinary (by K: the rule centred at
#   zero with scale tau).
# The fits of boundary are those of glmer() with its default control, and `singular`: true.
# boundary has `glm` (beta, loglik, se) and `score_tau2`, the derivative of the log-likelihood in
#   tau^2 at tau = 0 and glm's beta: negative, so the maximum is at the boundary.
#
# THE CONSTANT  For nAGQ > 1 lme4 (1.1.31) measures the log-likelihood from the saturated model:
# it leaves out sum(dbinom(y, n, y / n, log = TRUE)). On 0/1 rows that sum is zero, so that all
# values here keep all constants. On binomial rows it is not; `about$constant` shows both.

suppressPackageStartupMessages(library(lme4))
RNGversion("4.0.0")  # the generators of this version, whichever R runs the script
options(warn = 1)

TOLERANCE <- 1e-13  # of lme4's inner loop, relative; 1e-15 can no longer be reached
OPTIMIZERS <- list(
  bobyqa      = list(rhobeg = 0.02, rhoend = 1e-9, maxfun = 1e5),
  nlminbwrap  = list(rel.tol = 1e-15, x.tol = 1e-12, eval.max = 1e4, iter.max = 1e4),
  Nelder_Mead = list(FtolAbs = 1e-12, FtolRel = 1e-15, XtolRel = 1e-12, maxfun = 1e5)
)
STARTS <- c(0.5, 2, 5)  # of tau

# ---- The log-likelihood without lme4: integrate(), and Gauss-Hermite ---------------------------

# One group's integrand in u, as a log; vectorised over u.
log_integrand <- function(u, y, eta, tau) {
  sign <- ifelse(y == 1, 1, -1)
  sapply(u, function(v) sum(plogis(sign * (eta + v), log.p = TRUE))) + dnorm(u, 0, tau, log = TRUE)
}

# The mode of the integrand, and the standard deviation of its Gaussian approximation.
mode_of <- function(y, eta, tau) {
  score <- function(u) sum(y - plogis(eta + u)) - u / tau^2
  edge <- tau^2 * length(y)  # |score| <= n - |u| / tau^2
  u <- uniroot(score, c(-edge, edge), tol = 1e-10)$root
  for (step in 1:4) {
    w <- plogis(eta + u)
    u <- u + score(u) / (sum(w * (1 - w)) + 1 / tau^2)
  }
  w <- plogis(eta + u)
  c(u, (sum(w * (1 - w)) + 1 / tau^2)^-0.5)
}

# Nodes and log weights for the weight function exp(-z^2 / 2) / sqrt(2 pi): the nodes by Golub and
# Welsch, the weights as one over the sum of squares of the orthonormal polynomials, which keeps the
# digits of the smallest.
gauss_hermite <- function(K) {
  J <- matrix(0, K, K)
  i <- seq_len(K - 1)
  J[cbind(i, i + 1)] <- J[cbind(i + 1, i)] <- sqrt(i)
  z <- eigen(J, symmetric = TRUE, only.values = TRUE)$values
  before <- numeric(K)
  now <- squares <- rep(1, K)
  for (j in i) {
    following <- (z * now - sqrt(j - 1) * before) / sqrt(j)
    before <- now
    now <- following
    squares <- squares + now^2
  }
  list(z = z, logw = -log(squares))
}

log_sum_exp <- function(a) max(a) + log(sum(exp(a - max(a))))

# What each group adds to the log-likelihood; sum() of it is the log-likelihood.
by_group <- function(data, beta, tau, one_group) {
  eta <- drop(data$X %*% beta)
  sapply(split(seq_along(eta), data$group), function(j) one_group(data$y[j], eta[j], tau))
}

integral <- function(data, beta, tau) {
  sum(by_group(data, beta, tau, function(y, eta, tau) {
    m <- mode_of(y, eta, tau)
    top <- log_integrand(m[1], y, eta, tau)
    f <- function(s) exp(log_integrand(m[1] + m[2] * s, y, eta, tau) - top)
    piece <- function(a, b) {
      integrate(f, a, b, rel.tol = 1e-12, abs.tol = 0, subdivisions = 1000)$value
    }
    top + log(m[2]) + log(piece(-Inf, 0) + piece(0, Inf))
  }))
}

direct <- function(data, beta, tau, K, adaptive = TRUE) {
  rule <- gauss_hermite(K)
  sum(by_group(data, beta, tau, function(y, eta, tau) {
    m <- if (adaptive) mode_of(y, eta, tau) else c(0, tau)
    u <- m[1] + m[2] * rule$z
    log_sum_exp(rule$logw + log_integrand(u, y, eta, tau) - dnorm(u, m[1], m[2], log = TRUE))
  }))
}

# ---- lme4 --------------------------------------------------------------------------------------

control <- function(...) glmerControl(tolPwrss = TOLERANCE, ...)

quietly <- function(expr) suppressWarnings(suppressMessages(expr))

# lme4's log-likelihood as a function of (beta, log tau). Where lme4's inner loop stops, the
# curvature is still that of the step before; a second call, started from where the first one
# ended, removes what is left (3e-7 on the toenail data of the package).
objective <- function(data, K) {
  deviance <- quietly(glmer(data$formula, data$frame, binomial, nAGQ = K, devFunOnly = TRUE,
                            control = control()))
  inside <- environment(deviance)
  start <- inside$lp0
  p <- ncol(data$X)
  function(theta) {
    par <- c(exp(theta[p + 1]), theta[1:p])
    inside$lp0 <- start
    deviance(par)
    inside$lp0 <- inside$resp$eta + 0  # + 0: a copy
    -deviance(par) / 2
  }
}

# Central differences of fourth order; the Hessian by differences of the value.
gradient_of <- function(f, x, h = 2e-3) {
  sapply(seq_along(x), function(i) {
    e <- replace(numeric(length(x)), i, h)
    (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * h)
  })
}
hessian_of <- function(f, x, h = 1e-2) {
  H <- sapply(seq_along(x), function(i) {
    e <- replace(numeric(length(x)), i, h)
    g <- function(x) gradient_of(f, x, h)
    (8 * (g(x + e) - g(x - e)) - (g(x + 2 * e) - g(x - 2 * e))) / (12 * h)
  })
  (H + t(H)) / 2
}

first_modes <- function(fit, count = 8) {
  b <- ranef(fit, condVar = FALSE)[[1]]
  as.list(setNames(b[seq_len(count), 1], rownames(b)[seq_len(count)]))
}

describe <- function(fit, optimizer) {
  list(optimizer = optimizer, beta = unname(fixef(fit)), tau = unname(getME(fit, "theta")),
       loglik = as.numeric(logLik(fit)), se = unname(sqrt(diag(as.matrix(quietly(vcov(fit)))))),
       modes = first_modes(fit))
}

best_glmer <- function(data, K) {
  best <- NULL
  for (name in names(OPTIMIZERS)) for (tau in STARTS) {
    fit <- try(quietly(glmer(data$formula, data$frame, binomial, nAGQ = K,
                             start = list(theta = tau), control = control(
                               nAGQ0initStep = FALSE, optimizer = name,
                               optCtrl = OPTIMIZERS[[name]]))), silent = TRUE)
    if (inherits(fit, "try-error")) next
    cat(sprintf("    %-11s from tau = %-3g  loglik %.10f  tau %.8f\n", name, tau, logLik(fit),
                getME(fit, "theta")))
    if (is.null(best) || logLik(fit) > best$loglik) best <- describe(fit, name)
  }
  best
}

default_glmer <- function(data, K) {
  fit <- quietly(glmer(data$formula, data$frame, binomial, nAGQ = K))
  d <- describe(fit, "default")
  d$loglik_tight <- if (d$tau > 0) objective(data, K)(c(d$beta, log(d$tau)))
  d$singular <- isSingular(fit)
  d$messages <- as.list(fit@optinfo$conv$lme4$messages)
  d
}

interior_fit <- function(data, K) {
  cat("  nAGQ =", K, "\n")
  p <- ncol(data$X)
  f <- objective(data, K)
  glmer_best <- best_glmer(data, K)
  theta <- c(glmer_best$beta, log(glmer_best$tau))
  for (step in 1:4) theta <- theta - solve(hessian_of(f, theta), gradient_of(f, theta))
  cov <- solve(-hessian_of(f, theta))
  beta <- theta[1:p]
  tau <- exp(theta[p + 1])
  eta <- drop(data$X %*% beta)
  groups <- split(seq_along(eta), data$group)[1:8]
  fit <- list(
    beta = beta, tau = tau, loglik = f(theta), loglik_direct = direct(data, beta, tau, K),
    loglik_integral = integral(data, beta, tau), gradient = gradient_of(f, theta),
    se = sqrt(diag(cov))[1:p], se_log_tau = sqrt(cov[p + 1, p + 1]),
    modes = lapply(groups, function(j) mode_of(data$y[j], eta[j], tau)[1]),
    glmer = glmer_best, glmer_default = default_glmer(data, K)
  )
  cat(sprintf("    loglik %.10f  tau %.8f  max |gradient| %.1e\n", fit$loglik, tau,
              max(abs(fit$gradient))))
  fit
}

at_fixed <- function(data, beta, tau, nAGQ, ordinary) {
  by <- function(K, value) as.list(setNames(sapply(K, value), K))
  list(beta = beta, tau = tau, integral = integral(data, beta, tau),
       lme4 = by(nAGQ, function(K) objective(data, K)(c(beta, log(tau)))),
       direct = by(nAGQ, function(K) direct(data, beta, tau, K)),
       ordinary = by(ordinary, function(K) direct(data, beta, tau, K, adaptive = FALSE)))
}

# ---- The data ----------------------------------------------------------------------------------

as_data <- function(formula, frame, group) {
  fixed <- lme4::nobars(formula)
  list(formula = formula, frame = frame, X = model.matrix(fixed, frame),
       y = model.response(model.frame(fixed, frame)), group = frame[[group]])
}

about_data <- function(data) {
  list(columns = as.list(colnames(data$X)), rows = nrow(data$X),
       groups = length(unique(data$group)))
}

write_csv <- function(frame, path) {
  out <- file(path, "wb")
  write.csv(frame, out, row.names = FALSE, quote = FALSE, eol = "\n")
  close(out)
  read.csv(path)  # what the tests read is what was fitted
}

simulated_csv <- function(path) {
  set.seed(20240501)
  size <- sample(rep(1:12, length.out = 40))
  group <- rep(1:40, size)
  x1 <- round(rnorm(length(group)), 3)
  x2 <- rbinom(length(group), 1, 0.4)
  u <- rnorm(40, 0, 1.2)
  y <- rbinom(length(group), 1, plogis(-0.5 + 0.8 * x1 + 0.6 * x2 + u[group]))
  write_csv(data.frame(y, x1, x2, group), path)
}

# Each group has three or four ones among its seven rows: less variation than chance gives.
boundary_csv <- function(path) {
  set.seed(20240502)
  group <- rep(1:20, each = 7)
  y <- unlist(lapply(1:20, function(i) sample(rep(0:1, c(4 - i %% 2, 3 + i %% 2)))))
  x1 <- round(rnorm(140) + 0.5 * y, 3)
  write_csv(data.frame(y, x1, group), path)
}

# ---- JSON with 17 significant digits, enough to give back every double -------------------------

to_json <- function(x, indent = "") {
  inner <- paste0(indent, "  ")
  text <- function(s) paste0('"', gsub('(["\\\\])', "\\\\\\1", s), '"')
  if (is.list(x)) {
    if (is.null(names(x))) {
      return(paste0("[", paste(sapply(x, to_json, inner), collapse = ", "), "]"))
    }
    items <- paste0(inner, text(names(x)), ": ", sapply(x, to_json, inner))
    return(paste0("{\n", paste(items, collapse = ",\n"), "\n", indent, "}"))
  }
  s <- if (is.character(x)) text(x) else if (is.logical(x)) tolower(x) else sprintf("%.17g", x)
  if (is.numeric(x)) stopifnot(is.finite(x))
  if (length(x) == 1) s else paste0("[", paste(s, collapse = ", "), "]")
}

# ---- All of it ---------------------------------------------------------------------------------

# What lme4 drops, on its own binomial example: cbpp, 56 rows of counts.
constant <- local({
  formula <- cbind(incidence, size - incidence) ~ period + (1 | herd)
  par <- c(0.64, -1.4, -1, -1.1, -1.6)  # (tau, beta)
  value <- function(K) {
    -quietly(glmer(formula, cbpp, binomial, nAGQ = K, devFunOnly = TRUE,
                   control = control()))(par) / 2
  }
  saturated <- with(cbpp, sum(dbinom(incidence, size, incidence / size, log = TRUE)))
  list(data = "lme4's cbpp", beta = par[-1], tau = par[1], lme4 = list("1" = value(1),
       "25" = value(25)), saturated = saturated, corrected_25 = value(25) + saturated)
})

made <- as_data(y ~ x1 + x2 + (1 | group), simulated_csv("tests/reference/simulated.csv"), "group")
alike <- as_data(y ~ x1 + (1 | group), boundary_csv("tests/reference/boundary.csv"), "group")

fits <- function(data, nAGQ, fit) setNames(lapply(nAGQ, function(K) fit(data, K)), nAGQ)

cat("simulated\n")
simulated_values <- c(about_data(made), list(
  fits = fits(made, c(1, 2, 5, 25), interior_fit),
  fixed = at_fixed(made, c(-0.2, 0.5, 0.9), 1.7, c(1, 2, 3, 9, 25), c(5, 25))))

cat("boundary\n")
boundary_values <- local({
  g <- glm(y ~ x1, binomial, alike$frame, control = list(epsilon = 1e-14, maxit = 50))
  mu <- fitted(g)
  score <- tapply(alike$y - mu, alike$group, sum)^2 - tapply(mu * (1 - mu), alike$group, sum)
  c(about_data(alike), list(
    fits = fits(alike, c(1, 25), default_glmer),
    glm = list(beta = unname(coef(g)), loglik = as.numeric(logLik(g)),
               se = unname(sqrt(diag(vcov(g))))),
    score_tau2 = sum(score) / 2,
    fixed = at_fixed(alike, c(0.1, 0.4), 0.8, c(1, 9), c(5, 25))))
})

values <- list(
  about = list(
    script = "tests/reference/lme4.R", R = as.character(getRversion()),
    lme4 = as.character(packageVersion("lme4")), tolPwrss = TOLERANCE, optimizers = OPTIMIZERS,
    starts_of_tau = STARTS, newton_steps = 4, constant = constant),
  simulated = simulated_values, boundary = boundary_values)

out <- file("tests/reference/lme4.json", "wb")
writeLines(to_json(values), out, sep = "\n")
close(out)
