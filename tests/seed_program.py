def f(theta):
    # 定义目标函数
    return theta**2

def grad_f(theta):
    # 目标函数的梯度
    return 2*theta

def gradient_descent(theta_init, eta, n_iters):
    # 梯度下降法
    theta = theta_init
    for i in range(n_iters):
        theta = theta - eta * grad_f(theta)
        print(f"Iteration {i+1}: theta = {theta}")
    return theta
# 定义初始参数、学习率和迭代次数
theta_init = 10 
eta = 0.1
n_iters = 100
# 执行梯度下降法
theta_opt = gradient_descent(theta_init, eta, n_iters)
print(f"Optimal theta: {theta_opt}")
